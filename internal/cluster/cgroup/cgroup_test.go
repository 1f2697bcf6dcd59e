package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTreeFindsKillsAndRemoves(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a control group needs root")
	}
	tree, err := New(fmt.Sprintf("redoubt-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Create("engine/sleeper"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := tree.Weigh("engine", 3); err != nil {
		t.Error(err)
	}
	if got := weights(t, tree, "engine"); !slices.Equal(got, []string{"3072"}) && !slices.Equal(got, []string{"300"}) {
		t.Errorf("weights %v, want 3072 (cgroup v1) or 300 (v2)", got)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tree.Add("engine/sleeper", cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	pids, err := tree.Processes("")
	if err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Fatalf("processes %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	killed := make(chan error)
	go func() { killed <- tree.Kill("", 10*time.Second) }()
	_ = cmd.Wait() // reaped, or it would stay in the group as a zombie
	if err := <-killed; err != nil {
		t.Error(err)
	}
}

// A process that has been told to end may still be in its group for a while.
func TestRemoveWaitsForTheDying(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a control group needs root")
	}
	tree, err := New(fmt.Sprintf("redoubt-test-dying-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Create("engine"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tree.Add("engine", cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- tree.Remove() }()
	select {
	case err := <-removed:
		t.Errorf("a group with a process in it is removed, or given up at once: %v", err)
		removed <- err
	case <-time.After(200 * time.Millisecond):
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := <-removed; err != nil {
		t.Error(err)
	}
}

// weights are those that the kernel gives the group; hierarchies mounted twice
// count once.
func weights(t *testing.T, tree Tree, sub string) []string {
	t.Helper()
	var found []string
	for _, h := range tree.hierarchies {
		for _, file := range []string{"cpu.shares", "cpu.weight"} {
			data, err := os.ReadFile(filepath.Join(h.mountpoint, tree.name, sub, file))
			if value := strings.TrimSpace(string(data)); err == nil && !slices.Contains(found, value) {
				found = append(found, value)
			}
		}
	}
	return found
}

func TestParseMount(t *testing.T) {
	for line, want := range map[string]hierarchy{
		"31 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw":               {mountpoint: "/sys/fs/cgroup", v2: true},
		"35 23 0:31 / /sys/fs/cgroup/cpuset rw shared:9 - cgroup cgroup rw,cpuset": {mountpoint: "/sys/fs/cgroup/cpuset", cpuset: true},
		"36 23 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory":          {mountpoint: "/sys/fs/cgroup/memory"},
	} {
		got, ok := parseMount(line)
		if !ok || got != want {
			t.Errorf("%s: got %+v, %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "x", "23 1 8:1 / / rw - ext4 /dev/sda rw"} {
		if _, ok := parseMount(line); ok {
			t.Errorf("%q taken for a control group", line)
		}
	}
}
