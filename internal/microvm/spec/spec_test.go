package spec

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

func pod(namespaces ...specs.LinuxNamespaceType) *specs.Spec {
	s := &specs.Spec{Process: &specs.Process{Args: []string{"true"}}, Linux: &specs.Linux{}}
	for _, n := range namespaces {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: n})
	}
	return s
}

func TestContainer(t *testing.T) {
	s := pod(specs.NetworkNamespace, specs.PIDNamespace)
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: "/proc/7/ns/ipc"})
	s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh"}}}
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL"}}
	s.Mounts = []specs.Mount{
		{Destination: "/proc", Type: "proc", Options: []string{"nosuid", "noexec"}},
		{Destination: "/data", Type: "bind", Source: "/host/data", Options: []string{"rbind", "rprivate", "ro"}},
		{Destination: "/tmp", Type: "tmpfs", Options: []string{"nodev", "size=1m", "mode=1777"}},
	}
	c, host, err := Container("id", s, Streams{Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	if c.PodPID || !c.PodIPC {
		t.Errorf("namespaces: %+v", c)
	}
	if c.Process.Caps.Bounding != 1<<unix.CAP_CHOWN|1<<unix.CAP_KILL {
		t.Errorf("capabilities: %#x", c.Process.Caps.Bounding)
	}
	if len(host) != 1 || host[0].Source != "/host/data" {
		t.Errorf("mounts of the host: %+v", host)
	}
	if m := c.Mounts[2]; m.Flags != unix.MS_NODEV || m.Data != "size=1m,mode=1777" {
		t.Errorf("tmpfs: %+v", m)
	}
}

func TestContainerRefuses(t *testing.T) {
	odd := pod(specs.NetworkNamespace, specs.PIDNamespace)
	odd.Mounts = []specs.Mount{{Destination: "/x", Type: "nfs"}}
	unknown := pod(specs.NetworkNamespace, specs.PIDNamespace)
	unknown.Process.Capabilities = &specs.LinuxCapabilities{Effective: []string{"CAP_ALL"}}
	for name, s := range map[string]*specs.Spec{
		"host network":       pod(specs.PIDNamespace),
		"host processes":     pod(specs.NetworkNamespace),
		"network filesystem": odd,
		"unknown capability": unknown,
	} {
		if _, _, err := Container("id", s, Streams{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestDevicesAreTheGuests(t *testing.T) {
	list := []specs.LinuxDevice{
		{Path: "/dev/null", Type: "c", Major: 1, Minor: 3}, {Path: "/dev/mem", Type: "c", Major: 1, Minor: 1},
		{Path: "/dev/sda", Type: "b", Major: 8}, {Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229},
	}
	var got []string
	for _, d := range devices(&specs.Linux{Devices: list}) {
		got = append(got, d.Path)
	}
	if len(got) != 2 || got[0] != "/dev/null" || got[1] != "/dev/fuse" {
		t.Errorf("got %v", got)
	}
}

func TestBlockDevicesAreThoseOfThePod(t *testing.T) {
	major, one, two, three := int64(7), int64(1), int64(2), int64(3)
	list := []specs.LinuxDevice{
		{Path: "/dev/data", Type: "b", Major: major, Minor: one}, {Path: "/dev/base", Type: "b", Major: major, Minor: two},
		{Path: "/dev/loop3", Type: "b", Major: major, Minor: three},
	}
	rules := []specs.LinuxDeviceCgroup{
		{Allow: true, Access: "rwm"}, // all, as a privileged container has
		{Allow: true, Type: "b", Major: &major, Access: "rwm"},
		{Allow: false, Type: "b", Major: &major, Minor: &three, Access: "rwm"},
		{Allow: true, Type: "b", Major: &major, Minor: &one, Access: "mrw"},
		{Allow: true, Type: "b", Major: &major, Minor: &two, Access: "r"},
	}
	got := devices(&specs.Linux{Devices: list, Resources: &specs.LinuxResources{Devices: rules}})
	want := []wire.Device{
		{Path: "/dev/data", Block: true, Major: 7, Minor: 1, Mode: 0o666},
		{Path: "/dev/base", Block: true, Major: 7, Minor: 2, Mode: 0o444},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestLimits(t *testing.T) {
	memory, pids, quota := int64(64<<20), int64(10), int64(50000)
	period, shares := uint64(100000), uint64(1024)
	l := Limits(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &memory}, Pids: &specs.LinuxPids{Limit: &pids},
		CPU: &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares},
	})
	if l.Memory != 64<<20 || l.Processes != 10 || l.Quota != 50000 || l.Period != 100000 || l.Weight != 39 {
		t.Errorf("got %+v", l)
	}
}
