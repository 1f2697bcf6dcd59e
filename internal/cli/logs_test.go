package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/cluster/supervise"
	"redoubt.dev/redoubt/internal/instance"
)

// What was written to a log just before its rotation is printed too.
func TestFollowedLogIsWholeAcrossRotation(t *testing.T) {
	inst, err := instance.New("logs", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := supervise.LogFile(inst.LogDir(), "gateway")
	if err := errors.Join(os.MkdirAll(inst.LogDir(), 0o700), os.WriteFile(path, []byte("first "), 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, w := io.Pipe()
	go func() { w.CloseWithError(printLog(ctx, w, inst, "gateway", true)) }()
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
	read("first ")
	time.Sleep(50 * time.Millisecond) // it has seen the end of the file, and pauses
	old, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if _, err := old.WriteString("second "); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("third"), 0o600); err != nil {
		t.Fatal(err)
	}
	read("second third")
}
