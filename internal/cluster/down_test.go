package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/instance"
)

// unbooted is an instance of a name of its own, which leaves nothing behind.
func unbooted(t *testing.T) instance.Instance {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a run folder needs root")
	}
	inst, err := instance.New(fmt.Sprintf("test-%d", os.Getpid()), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(inst.RunDir()); err != nil {
			t.Error(err)
		}
	})
	return inst
}

// deaf is a process that SIGTERM does not end.
func deaf(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Whoever no longer waits for an instance to end has not asked for force.
func TestInterruptedDownDoesNotKillTheSupervisor(t *testing.T) {
	inst := unbooted(t)
	unlock, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	supervisor := deaf(t)
	if err := inst.SaveState(instance.State{SupervisorPID: supervisor.Process.Pid, DataDir: inst.DataDir}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := endSupervisor(ctx, inst); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	time.Sleep(100 * time.Millisecond) // a signal may arrive late
	var status unix.WaitStatus
	if pid, err := unix.Wait4(supervisor.Process.Pid, &status, unix.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("the supervisor has ended: pid %d, status %v, %v", pid, status, err)
	}
}
