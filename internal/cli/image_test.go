package cli

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What is written to a pipe, or a device, arrives there, and leaves it in its
// place.
func TestSpecialFilesAreWrittenThrough(t *testing.T) {
	write := map[string]func(path string) error{
		"writeTo": func(path string) error {
			return writeTo(path, io.Discard, func(w io.Writer) error { _, err := w.Write([]byte("hello")); return err })
		},
		"writePrivate": func(path string) error { return writePrivate(path, []byte("hello")) },
	}
	for name, to := range write {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pipe")
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			pipe, err := os.OpenFile(path, os.O_RDWR, 0) // does not wait for the other end
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			if err := to(path); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
				t.Fatalf("the pipe has become %v, %v", info.Mode(), err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(pipe, got); err != nil || string(got) != "hello" {
				t.Errorf("the pipe has %q, %v", got, err)
			}
		})
	}
}
