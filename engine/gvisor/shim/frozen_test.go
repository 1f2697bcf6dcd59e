package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

func TestFrozenSandboxIsAsItWas(t *testing.T) {
	var l lastAnswers[string]
	first, of := "running", process{"a", ""}
	frozen := func(ctx context.Context) (*string, error) { <-ctx.Done(); return nil, ctx.Err() }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.ask(ctx, of, true, frozen); err == nil {
		t.Error("an unknown process is answered for")
	}
	if got, err := l.ask(t.Context(), of, false, func(context.Context) (*string, error) { return &first, nil }); got != &first || err != nil {
		t.Fatalf("got %v, %v", got, err)
	}
	if got, err := l.ask(t.Context(), of, false, frozen); got != &first || err != nil {
		t.Errorf("of a frozen sandbox: %v, %v; want what was known", got, err)
	}
	if got, err := l.ask(t.Context(), of, true, func(context.Context) (*string, error) { panic("a frozen sandbox is asked") }); got != &first || err != nil {
		t.Errorf("of a sandbox known to be frozen: %v, %v", got, err)
	}
	broken := errors.New("broken")
	if _, err := l.ask(t.Context(), of, false, func(context.Context) (*string, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("an error of a sandbox that answers became %v", err)
	}
	l.forget(of)
	if _, err := l.ask(ctx, of, true, frozen); err == nil {
		t.Error("a process that is gone is answered for")
	}
}

func TestFreezerIsTheOneThatFreezesPods(t *testing.T) {
	for name, c := range map[string]struct{ text, file string }{
		"version 1": {"5:freezer:/a/pod1\n4:memory:/b\n0::/c\n", "/sys/fs/cgroup/freezer/a/pod1/freezer.state"},
		"version 2": {"0::/kubepods/pod1\n", "/sys/fs/cgroup/kubepods/pod1/cgroup.events"},
		"neither":   {"4:memory:/b\n", ""},
	} {
		if f := freezerIn(parseCgroup(c.text, "freezer")); f.file != c.file {
			t.Errorf("%s: got %+v", name, f)
		}
	}
	file := filepath.Join(t.TempDir(), "cgroup.events")
	for content, want := range map[string]bool{"populated 1\nfrozen 1\n": true, "populated 1\nfrozen 0\n": false} {
		write(t, file, content)
		if got := (freezer{file, "frozen 1"}).frozen(); got != want {
			t.Errorf("%q is frozen: %v", content, got)
		}
	}
	if (freezer{}).frozen() {
		t.Error("what is not known is frozen")
	}
}
