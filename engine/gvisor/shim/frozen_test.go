package main

import (
	"context"
	"errors"
	"testing"
)

func TestFrozenSandboxIsAsItWas(t *testing.T) {
	var l lastAnswers[string]
	first, of := "running", process{"a", ""}
	frozen := func(ctx context.Context) (*string, error) { <-ctx.Done(); return nil, ctx.Err() }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.ask(ctx, of, frozen); err == nil {
		t.Error("an unknown process is answered for")
	}
	if got, err := l.ask(t.Context(), of, func(context.Context) (*string, error) { return &first, nil }); got != &first || err != nil {
		t.Fatalf("got %v, %v", got, err)
	}
	if got, err := l.ask(t.Context(), of, frozen); got != &first || err != nil {
		t.Errorf("of a frozen sandbox: %v, %v; want what was known", got, err)
	}
	broken := errors.New("broken")
	if _, err := l.ask(t.Context(), of, func(context.Context) (*string, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("an error of a sandbox that answers became %v", err)
	}
	l.forget(of)
	if _, err := l.ask(ctx, of, frozen); err == nil {
		t.Error("a process that is gone is answered for")
	}
}
