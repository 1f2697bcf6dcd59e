package vmmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// testJail looks at the machine's process from outside, in /proc.
func testJail(t *testing.T, m vmm.Machine) {
	proc := fmt.Sprintf("/proc/%d", m.PID())
	tasks, err := filepath.Glob(proc + "/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads in %s: %v", proc, err)
	}
	for _, task := range tasks {
		status := fields(t, task)
		for name, want := range map[string]string{
			"Uid": "65600 65600 65600 65600", "Gid": "65601 65601 65601 65601", "Groups": "",
			"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
			"NoNewPrivs": "1",
			"Seccomp":    "2", // a filter
		} {
			if status[name] != want {
				t.Errorf("%s: %s = %q, want %q", task, name, status[name], want)
			}
		}
	}
	for _, namespace := range []string{"mnt", "net", "pid", "ipc", "uts"} {
		theirs, err := os.Readlink(filepath.Join(proc, "ns", namespace))
		ours, ourErr := os.Readlink(filepath.Join("/proc/self/ns", namespace))
		if err != nil || ourErr != nil || theirs == ours {
			t.Errorf("%s namespace %s is the host's (%v, %v)", namespace, theirs, err, ourErr)
		}
	}
	testNoHostFiles(t, proc)
}

// testNoHostFiles checks what the process can see: its root, and the files
// that it holds.
func testNoHostFiles(t *testing.T, proc string) {
	// The check must be able to fail: this process's own root has them all.
	hosts := []string{"/etc/passwd", "/usr/bin", "/var", "/home", "/run", "/sys/fs/cgroup", "/proc/1"}
	for _, path := range hosts {
		if _, err := os.Stat("/proc/self/root" + path); err != nil {
			t.Logf("this host has no %s", path)
		} else if _, err := os.Stat(proc + "/root" + path); err == nil {
			t.Errorf("the machine's process sees the host's %s", path)
		}
	}
	mounts, err := os.ReadFile(proc + "/mounts")
	if err != nil || len(strings.Split(strings.TrimSpace(string(mounts)), "\n")) != 1 || !strings.Contains(string(mounts), " ro,nosuid,nodev") {
		t.Errorf("the machine's process has other mounts than one read-only root: %q, %v", mounts, err)
	}
	open, err := filepath.Glob(proc + "/fd/*")
	if err != nil || len(open) == 0 {
		t.Fatalf("no open files in %s: %v", proc, err)
	}
	for _, fd := range open {
		target, err := os.Readlink(fd)
		ours := strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "anon_inode:") ||
			strings.HasPrefix(target, "/memfd:") || target == "/dev/net/tun" || target == "/memory"
		if err != nil || !ours {
			t.Errorf("the machine's process holds %s (%v)", target, err)
		}
	}
}

// holds says whether a process has path open.
func holds(t *testing.T, pid int, path string) bool {
	t.Helper()
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(open) == 0 {
		t.Fatalf("no open files of process %d: %v", pid, err)
	}
	for _, fd := range open {
		if target, _ := os.Readlink(fd); target == path {
			return true
		}
	}
	return false
}

// fields reads a file of "name: value" lines.
func fields(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			values[name] = strings.Join(strings.Fields(value), " ")
		}
	}
	return values
}
