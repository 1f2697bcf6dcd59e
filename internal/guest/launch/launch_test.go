package launch

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// run starts a shell command with what plan adds and returns its output.
func run(t *testing.T, script string, plan func(*Program)) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := New(0, -1)
	p.Files(int(w.Fd()), int(w.Fd()), int(w.Fd()))
	plan(p)
	p.Exec([]string{"/no/such/sh", "/bin/sh"}, []string{"sh", "-c", script}, []string{"PATH=/bin:/usr/bin"})
	pid, pidfd, err := p.Run()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	out, _ := io.ReadAll(r)
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
	return string(out)
}

func TestRun(t *testing.T) {
	got := run(t, "umask; pwd; cat /proc/$$/timerslack_ns", func(p *Program) {
		p.Umask(0o027)
		p.WorkIn("/usr")
		p.TimerSlack(70_000)
	})
	if got != "0027\n/usr\n70000\n" {
		t.Errorf("got %q", got)
	}
}

func TestFailedStepIsNamed(t *testing.T) {
	p := New(0, -1)
	p.WorkIn("/no/such/folder")
	p.Exec([]string{"/bin/sh"}, []string{"sh"}, nil)
	pid, _, err := p.Run()
	var failed *Error
	if !errors.As(err, &failed) || !errors.Is(err, unix.ENOENT) || failed.Exec {
		t.Errorf("got %v", err)
	}
	_, _ = unix.Wait4(pid, nil, 0, nil)
}

func TestMissingProgramIsToldApart(t *testing.T) {
	p := New(0, -1)
	p.Exec([]string{"/no/such/program"}, []string{"program"}, nil)
	pid, _, err := p.Run()
	var failed *Error
	if !errors.As(err, &failed) || !failed.Exec {
		t.Errorf("got %v", err)
	}
	_, _ = unix.Wait4(pid, nil, 0, nil)
}
