package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
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
	if err := os.WriteFile(inst.Run("lock"), []byte(strconv.Itoa(supervisor.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := endSupervisor(ctx, inst); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	runsStill(t, supervisor)
}

func runsStill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	time.Sleep(100 * time.Millisecond) // a signal may arrive late
	var status unix.WaitStatus
	if pid, err := unix.Wait4(cmd.Process.Pid, &status, unix.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("it has ended: pid %d, status %v, %v", pid, status, err)
	}
}

// The state of a killed supervisor names a process that may be anybody's now.
func TestDownSignalsNobodyButWhoHoldsTheLock(t *testing.T) {
	inst := unbooted(t)
	unlock, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	anybody := exec.Command("/bin/sleep", "60")
	if err := anybody.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = anybody.Process.Kill()
		_ = anybody.Wait()
	})
	if err := inst.SaveState(instance.State{SupervisorPID: anybody.Process.Pid, DataDir: inst.DataDir}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := endSupervisor(ctx, inst); err == nil {
		t.Error("took a lock that is held")
	}
	runsStill(t, anybody)
}

// A supervisor is found as soon as it holds the lock, and is told by a signal
// until it listens.
func TestDownEndsAnEarlyBoot(t *testing.T) {
	inst := unbooted(t)
	unlock, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	supervisor := exec.Command("/bin/sleep", "60")
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inst.Run("lock"), []byte(strconv.Itoa(supervisor.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = supervisor.Wait()
		unlock()
	}()
	unlock, err = endSupervisor(t.Context(), inst)
	if err != nil {
		_ = supervisor.Process.Kill()
		t.Fatal(err)
	}
	unlock()
}

// Who waits for an instance that ends instead of becoming ready takes over.
func TestUpTakesOverAnInstanceThatEnds(t *testing.T) {
	inst := unbooted(t)
	unlock, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.SaveState(instance.State{DataDir: inst.DataDir}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, unlock)
	taken, err := alreadyRunning(t.Context(), inst, time.Minute, func(instance.State) { t.Error("it is said to be ready") })
	if err != nil || taken == nil {
		t.Fatalf("lock taken: %t, %v", taken != nil, err)
	}
	taken()
}

// A lock whose file has been removed keeps nobody out.
func TestRemovedLockIsNotTaken(t *testing.T) {
	inst := unbooted(t)
	first, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	defer first()
	old, err := os.Open(inst.Run("lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if !isAt(old, inst.Run("lock")) {
		t.Error("a lock that is in its place is said to be gone")
	}
	if err := os.Remove(inst.Run("lock")); err != nil {
		t.Fatal(err)
	}
	second, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	defer second()
	if isAt(old, inst.Run("lock")) {
		t.Error("a lock that was removed is said to be in its place")
	}
}
