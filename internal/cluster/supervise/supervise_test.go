package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cluster/netns"
)

func newSupervisor(t *testing.T) (*Supervisor, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace and control groups needs root")
	}
	name := fmt.Sprintf("redoubt-test-supervise-%d", os.Getpid())
	ns := filepath.Join(t.TempDir(), name)
	if err := netns.Create(ns); err != nil {
		t.Fatal(err)
	}
	tree, err := cgroup.New(name)
	if err != nil {
		t.Fatal(err)
	}
	logs := t.TempDir()
	s, err := New(ns, logs, tree)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.StopAll(10 * time.Second)
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
		if err := netns.Delete(ns); err != nil {
			t.Error(err)
		}
	})
	return s, logs
}

// until waits for something that another process does.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 1000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

func TestKilledProgramIsStartedAgain(t *testing.T) {
	s, _ := newSupervisor(t)
	if err := s.Start(Spec{Name: "sleeper", Path: "/bin/sleep", Args: []string{"1000"}}); err != nil {
		t.Fatal(err)
	}
	first := s.Status()[0].PID
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "a second start", func() bool {
		st := s.Status()[0]
		return st.Restarts == 1 && st.State == Running && st.PID != first
	})
	if exit := s.Status()[0].LastExit; !strings.Contains(exit, "killed") {
		t.Errorf("last exit %q does not say that it was killed", exit)
	}
}

func TestProgramLivesInTheNamespaceAndGroup(t *testing.T) {
	s, _ := newSupervisor(t)
	if err := s.Start(Spec{Name: "sleeper", Path: "/bin/sleep", Args: []string{"1000"}}); err != nil {
		t.Fatal(err)
	}
	pid := s.Status()[0].PID
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil || own == theirs {
		t.Errorf("the program's network namespace is %s, %v, the host's is %s", theirs, err, own)
	}
	pids, err := s.group.Processes("engine/sleeper")
	if err != nil || !slices.Contains(pids, pid) {
		t.Errorf("the program's group holds %v, %v", pids, err)
	}
}

func TestOutputIsLogged(t *testing.T) {
	s, logs := newSupervisor(t)
	if err := s.Start(Spec{Name: "talker", Path: "/bin/sh", Args: []string{"-c", "echo $WORD; exec sleep 1000"}, Env: []string{"WORD=hello"}}); err != nil {
		t.Fatal(err)
	}
	until(t, "output in the log", func() bool {
		data, _ := os.ReadFile(LogFile(logs, "talker"))
		return string(data) == "hello\n"
	})
}

// A program goes on whose log cannot be written, as on a full disk: here a
// file is where the log's folder was.
func TestProgramOutlivesItsLog(t *testing.T) {
	s, logs := newSupervisor(t)
	if err := errors.Join(os.Remove(logs), os.WriteFile(logs, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "mark")
	script := "set -e; echo first; sleep 0.2; echo second; sleep 0.2; echo third; echo done > " + mark + "; exec sleep 1000"
	if err := s.Start(Spec{Name: "talker", Path: "/bin/sh", Args: []string{"-c", script}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the script", func() bool {
		_, err := os.Stat(mark)
		return err == nil || s.Status()[0].Restarts > 0
	})
	if st := s.Status()[0]; st.Restarts > 0 || st.State != Running {
		t.Errorf("the program ended: %+v", st)
	}
}

func TestStubbornProgramIsKilled(t *testing.T) {
	s, _ := newSupervisor(t)
	if err := s.Start(Spec{Name: "deaf", Path: "/bin/sh", Args: []string{"-c", "trap '' TERM; echo ready; while :; do sleep 1; done"}}); err != nil {
		t.Fatal(err)
	}
	s.Stop("deaf", 10*time.Millisecond)
	if st := s.Status()[0]; st.State != Stopped || st.Restarts != 0 {
		t.Errorf("after stop: %+v", st)
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	s, _ := newSupervisor(t)
	if err := s.Start(Spec{Name: "absent", Path: "/nonexistent"}); err == nil {
		t.Error("starting what does not exist succeeded")
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for range 9 {
		got = append(got, b.next(time.Second))
	}
	if got[0] != firstPause || got[1] != 2*firstPause || got[8] != longest {
		t.Errorf("pauses %v", got)
	}
	if p := b.next(stable); p != firstPause {
		t.Errorf("after a stable run the pause is %v", p)
	}
}
