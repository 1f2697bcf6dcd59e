package guest

import (
	"errors"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/guest/launch"
	"redoubt.dev/redoubt/internal/wire"
)

// TestDescriptorOutlivesTheProcess: the process's own descriptor is closed at
// its end, and whoever is at work with one must not meet another file.
func TestDescriptorOutlivesTheProcess(t *testing.T) {
	processes := newTable()
	p := sleeper(t, processes)
	pidfd, running := p.descriptor()
	if !running {
		t.Fatal("the process does not run")
	}
	defer unix.Close(pidfd)
	if err := p.signal(uint32(unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	ends(t, processes, p)
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the descriptor is not of the process that has ended: %v", err)
	}
	if _, running := p.descriptor(); running {
		t.Error("a process that has ended has a descriptor")
	}
	if err := p.signal(uint32(unix.SIGTERM)); !errdefs.IsNotFound(err) {
		t.Errorf("signal after the end: got %v, want not found", err)
	}
}

// TestDeletedProcessEnds: the host gives up a call that takes too long, and the
// agent starts the process all the same.
func TestDeletedProcessEnds(t *testing.T) {
	a := newAgent()
	first, extra := sleeper(t, a.processes), sleeper(t, a.processes)
	a.containers["app"] = &container{init: first, extra: map[string]*process{"exec": extra}}
	for _, one := range []struct {
		exec string
		p    *process
	}{{"exec", extra}, {"", first}} {
		if _, err := a.remove(&wire.Ref{ID: "app", Exec: one.exec}); err != nil {
			t.Fatal(err)
		}
		ends(t, a.processes, one.p)
	}
}

// sleeper is a process that runs for a while.
func sleeper(t *testing.T, processes *table) *process {
	t.Helper()
	p := newProcess(&stdio{})
	program := launch.New(0, -1)
	program.Exec([]string{"/bin/sleep"}, []string{"sleep", "600"}, nil)
	if err := processes.start(program, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// ends waits for the end of a process that is killed.
func ends(t *testing.T, processes *table, p *process) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); p.running(); time.Sleep(time.Millisecond) {
		processes.reapOne()
		if time.Now().After(deadline) {
			t.Fatal("the process does not end")
		}
	}
}
