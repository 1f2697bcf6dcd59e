package main

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestOutOfMemoryIsTheReasonOnlyWhereMemoryWas(t *testing.T) {
	dir := t.TempDir()
	events := filepath.Join(dir, "memory.events")
	write(t, events, "oom_kill 3\n")
	p := newPod("pod", os.Getpid(), sandbox{}, nil)
	defer p.close()
	p.group = memoryGroup{dir, "memory.current", "memory.events"}
	p.before = p.group.kills()
	p.add("a", container{})
	p.add("b", container{})
	if p.outOfMemory("a") || p.outOfMemory("unknown") {
		t.Error("a container is out of memory though nothing was killed since the pod began")
	}
	if !p.condemn("a") || p.condemn("unknown") {
		t.Error("condemn does not tell known containers from others")
	}
	if !p.outOfMemory("a") || p.outOfMemory("b") {
		t.Error("a container over its limit is not told from its neighbour")
	}
	write(t, events, "oom_kill 4\n")
	if !p.outOfMemory("b") {
		t.Error("the host's kernel killed for memory, and the container does not know")
	}
	if limit, killed := p.memoryOf("b"); limit != 0 || !killed {
		t.Errorf("memoryOf says %d, %v", limit, killed)
	}
}

func TestLimitsAreReadableFilesThatChangeInPlace(t *testing.T) {
	dir := t.TempDir()
	quota, period, memory := int64(50000), uint64(100000), int64(1<<26)
	l := limitsOf(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &memory},
		CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
	})
	if err := l.write(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "memory.max")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, path, "67108864\n")
	wantText(t, filepath.Join(dir, "cpu.max"), "50000 100000\n")
	if err := (limits{}).write(dir); err != nil {
		t.Fatal(err)
	}
	wantText(t, path, "max\n")
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Error("a mount of the file would not see the change")
	}
	for _, m := range l.mounts(dir) {
		if filepath.Dir(m.Destination) != cgroupMount || filepath.Dir(m.Source) != dir {
			t.Errorf("unexpected mount %+v", m)
		}
	}
}

func TestStatisticsSayLimitAndKill(t *testing.T) {
	one := complete(&v1.Metrics{Memory: &v1.MemoryStat{Usage: &v1.MemoryEntry{}}}, 5, true).(*v1.Metrics)
	if one.MemoryOomControl.OomKill != 1 || one.Memory.Usage.Limit != 5 {
		t.Errorf("version 1: %+v", one)
	}
	two := complete(&v2.Metrics{Memory: &v2.MemoryStat{}}, 5, false).(*v2.Metrics)
	if two.MemoryEvents.OomKill != 0 || two.Memory.UsageLimit != 5 {
		t.Errorf("version 2: %+v", two)
	}
}

// TestTranslate gives a container its own cgroup with its limits, and leaves
// the sandbox and containers without a cgroup as they are.
func TestTranslate(t *testing.T) {
	cgroup := specs.Mount{Destination: cgroupMount, Type: "cgroup"}
	for name, c := range map[string]struct {
		kind   string
		mounts []specs.Mount
		want   int
	}{
		"container":                  {"container", []specs.Mount{cgroup}, 3},
		"container without a cgroup": {"container", nil, 0},
		"sandbox":                    {"sandbox", []specs.Mount{cgroup}, 1},
	} {
		b := bundle{dir: t.TempDir(), spec: specs.Spec{
			Annotations: map[string]string{kindAnnotation: c.kind},
			Linux:       &specs.Linux{},
			Mounts:      c.mounts,
		}}
		if err := b.translate(); err != nil {
			t.Fatal(err)
		}
		_, own := b.namespace(specs.CgroupNamespace)
		if len(b.spec.Mounts) != c.want || own != (c.want == 3) {
			t.Errorf("%s: has %d mounts and a cgroup namespace of its own: %v", name, len(b.spec.Mounts), own)
		}
	}
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", filepath.Base(path), got, err, want)
	}
}
