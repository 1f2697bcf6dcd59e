package thread

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNeverTheFirst asks often enough that the first thread would have been
// among those that answered.
func TestNeverTheFirst(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 200 {
		wait.Add(1)
		Go(func() {
			defer wait.Done()
			if unix.Gettid() == unix.Getpid() {
				t.Error("the work runs on the process's first thread")
			}
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if after, err := os.Readlink("/proc/self/ns/mnt"); err != nil || after != before {
		t.Errorf("the process moved from %s to %s (%v)", before, after, err)
	}
}

// TestStart ends the threads of everything else. The control: a process that
// one of those started ends with it.
func TestStart(t *testing.T) {
	command := func() *exec.Cmd {
		cmd := exec.Command("sleep", "infinity")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	kept, lost := command(), command()
	ended, err := Start(kept)
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	Go(func() { started <- lost.Start() })
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	_ = lost.Wait()
	if status := lost.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the control ended by %v", lost.ProcessState)
	}
	select {
	case <-ended:
		t.Errorf("the process ended by %v", kept.ProcessState)
	default:
	}
	if err := kept.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestStartFails(t *testing.T) {
	ended, err := Start(exec.Command("/nowhere"))
	if err == nil {
		t.Error("a program that is not there was started")
	}
	<-ended
}

// TestIdle ends a process that does nothing, one whose namespace outlives it.
func TestIdle(t *testing.T) {
	pid, end, err := Idle(syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS})
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.Open(fmt.Sprintf("/proc/%d/ns/uts", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	end()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("the process is there: %v", err)
	}
	done := make(chan error)
	Go(func() { done <- unix.Setns(int(names.Fd()), unix.CLONE_NEWUTS) })
	if err := <-done; err != nil {
		t.Errorf("its namespace has gone with it: %v", err)
	}
}
