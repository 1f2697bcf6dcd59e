package task

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/stdio"
	"redoubt.dev/redoubt/internal/wire"
)

func TestExecsAreLimited(t *testing.T) {
	s, c := &Service{}, &container{id: "app", execs: map[string]*process{}}
	what, err := typeurl.MarshalAnyToProto(&specs.Process{})
	if err != nil {
		t.Fatal(err)
	}
	add := func(n int) error {
		return s.exec(c, &api.ExecProcessRequest{ExecID: fmt.Sprint(n), Spec: what})
	}
	for n := range maxExecs {
		if err := add(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(maxExecs); !errdefs.IsResourceExhausted(err) {
		t.Errorf("one too many: %v", err)
	}
	delete(c.execs, "0")
	if err := add(maxExecs); err != nil {
		t.Errorf("in the place of one that is gone: %v", err)
	}
}

// TestOutputWaitsForItsReader: who pages through what a process has written comes
// to its end long after the process's.
func TestOutputWaitsForItsReader(t *testing.T) {
	const size, limit = 512 << 10, time.Second
	p, output := started(t, "exec", func(stream wire.Stream) {
		_, _ = stream.Write(make([]byte, size-1))
		time.Sleep(limit / 20)
		_, _ = stream.Write([]byte{0})
		_ = stream.CloseWrite()
	})
	finish(p, limit)
	time.Sleep(limit)
	if got, err := io.Copy(io.Discard, output); err != nil || got != size {
		t.Errorf("got %d bytes of %d: %v", got, size, err)
	}
}

// TestOutputOfWhoGoesOn: what a process has started may hold its output for ever.
func TestOutputOfWhoGoesOn(t *testing.T) {
	for _, exec := range []string{"", "exec"} {
		p, output := started(t, exec, func(stream wire.Stream) {
			_, _ = stream.Write([]byte("text"))
			_, _ = io.Copy(io.Discard, stream)
		})
		ended := make(chan error, 1)
		go func() {
			got, err := io.ReadAll(output)
			if err == nil && string(got) != "text" {
				err = fmt.Errorf("got %q", got)
			}
			ended <- err
		}()
		finish(p, 100*time.Millisecond)
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the output does not end")
		}
	}
}

// TestEndIsBelieved: the guest may say any time.
func TestEndIsBelieved(t *testing.T) {
	p := newProcess(wire.Ref{ID: "app"}, stdio.Paths{}, nil)
	began := time.Now()
	now := began.Add(time.Hour)
	p.begin(began)
	for at, want := range map[time.Time]time.Time{
		began.Add(time.Minute): began.Add(time.Minute),
		began.Add(-time.Hour):  now,
		now.Add(time.Second):   now,
	} {
		if got := p.ended(at, now); !got.Equal(want) {
			t.Errorf("%v: got %v, want %v", at, got, want)
		}
	}
}

// started is a process whose guest serves its output, and where that arrives.
func started(t *testing.T, exec string, serve func(wire.Stream)) (*process, *os.File) {
	t.Helper()
	host, guest := net.Pipe()
	t.Cleanup(func() { host.Close() })
	go func() {
		if wire.AwaitGreeting(guest) == nil {
			_ = wire.Serve(guest, map[wire.Method]wire.Handler{
				wire.Stdout: wire.HandleStream(func(*wire.Ref) (func(wire.Stream), error) { return serve, nil }),
			})
		}
	}()
	session, err := wire.Host(host)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stdout")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { output.Close() })
	p := newProcess(wire.Ref{ID: "app", Exec: exec}, stdio.Paths{Stdout: path}, nil)
	copier, err := stdio.Attach(t.Context(), session, &p.ref, p.paths)
	if err != nil {
		t.Fatal(err)
	}
	p.attach(copier)
	return p, output
}
