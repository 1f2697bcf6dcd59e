package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryGroupIsTheControllersOwn(t *testing.T) {
	for name, c := range map[string]struct {
		text, dir, usage string
		ok               bool
	}{
		"version 1":                  {"4:memory:/a/pod1\n3:cpu,cpuacct:/b\n1:name=systemd:/c\n", "/sys/fs/cgroup/memory/a/pod1", "memory.usage_in_bytes", true},
		"version 2":                  {"0::/kubepods/pod1\n", "/sys/fs/cgroup/kubepods/pod1", "memory.current", true},
		"both, version 1 has memory": {"0::/x\n4:hugetlb,memory:/a\n", "/sys/fs/cgroup/memory/a", "memory.usage_in_bytes", true},
		"no memory controller":       {"3:cpu:/b\n", "", "", false},
		"a path with colons":         {"0::/a:b:c\n", "/sys/fs/cgroup/a:b:c", "memory.current", true},
	} {
		g := memoryGroupIn(parseCgroup(c.text, "memory"))
		if ok := g.dir != ""; ok != c.ok || g.dir != c.dir || g.usage != c.usage {
			t.Errorf("%s: got %+v", name, g)
		}
	}
}

func TestKillsAreTheKernelsCount(t *testing.T) {
	dir := t.TempDir()
	g := memoryGroup{dir, "memory.current", "memory.events"}
	if n := g.kills(); n != 0 {
		t.Errorf("a cgroup that is gone counts %d kills", n)
	}
	write(t, filepath.Join(dir, "memory.events"), "low 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 9\n")
	write(t, filepath.Join(dir, "memory.current"), "4096\n")
	if n := g.kills(); n != 2 {
		t.Errorf("got %d kills, want 2", n)
	}
	if n, err := g.used(); err != nil || n != 4096 {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

func TestMemoryGroupOfThisProcessExists(t *testing.T) {
	g, err := memoryGroupOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.used(); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
