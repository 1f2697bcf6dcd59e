package guest

import (
	"errors"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/guest/launch"
)

// TestDescriptorOutlivesTheProcess: the process's own descriptor is closed at
// its end, and whoever is at work with one must not meet another file.
func TestDescriptorOutlivesTheProcess(t *testing.T) {
	processes, p := newTable(), newProcess(&stdio{})
	program := launch.New(0, -1)
	program.Exec([]string{"/bin/sleep"}, []string{"sleep", "60"}, nil)
	if err := processes.start(program, p); err != nil {
		t.Fatal(err)
	}
	pidfd, running := p.descriptor()
	if !running {
		t.Fatal("the process does not run")
	}
	defer unix.Close(pidfd)
	if err := p.signal(uint32(unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); p.running(); time.Sleep(time.Millisecond) {
		processes.reapOne()
		if time.Now().After(deadline) {
			t.Fatal("the process is not reaped")
		}
	}
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
