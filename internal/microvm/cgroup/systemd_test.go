package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, want := range map[string]string{
		"":                 "",
		"/kubepods/pod1/x": "/kubepods/pod1/x",
		"kubepods-burstable-pod1_2.slice:cri-containerd:abc": "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-abc.scope",
		"a.slice:b:c": "/a.slice/b-c.scope",
	} {
		if g, err := Parse(name); err != nil || g.Path() != want {
			t.Errorf("%q is %q, %v, want %q", name, g.Path(), err, want)
		}
	}
	for _, name := range []string{"/../x", "a/../../b", "a:b:c", ".slice:b:c", "a--b.slice:b:c", "a.slice:../b:c", "a.slice:b:/c", "a/b.slice:b:c"} {
		if g, err := Parse(name); err == nil {
			t.Errorf("%q is %q", name, g.Path())
		}
	}
}

// Where systemd runs it makes the group, keeps it while a process is in it, and
// forgets it afterwards; where it does not, that is said.
func TestScope(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("asking systemd for a scope needs root")
	}
	g, err := Parse("system.slice:redoubt-test:scope")
	if err != nil {
		t.Fatal(err)
	}
	let, err := g.Create(t.Context())
	if _, booted := os.Stat("/run/systemd/system"); errors.Is(booted, fs.ErrNotExist) { // sd_booted(3)
		if err == nil || !strings.Contains(err.Error(), "cgroupDriver to cgroupfs") {
			t.Errorf("systemd does not run here, and what is said is: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	there := func() (found bool) {
		_ = each(func(root string) error {
			_, err := os.Stat(root + g.Path())
			found = found || err == nil
			return nil
		})
		return found
	}
	if !there() {
		t.Error("no hierarchy has the group")
	}
	if err := g.Bound(t.Context(), 0); err != nil {
		t.Error(err)
	}
	let()
	if err := g.Remove(t.Context()); err != nil || there() {
		t.Errorf("the group is still there: %v", err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("remove it once more: %v", err)
	}
}
