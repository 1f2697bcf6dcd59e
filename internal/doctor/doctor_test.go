package doctor

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/microvm/kvm"
)

const (
	mountsV2 = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
	mountsV1 = "30 20 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"31 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"32 20 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" +
		"33 20 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
		"34 20 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n" +
		"35 20 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)

// healthy is a machine on which every check passes.
func healthy() Host {
	files := map[string]string{
		"proc/sys/kernel/osrelease":              "6.12.9-amd64",
		"proc/sys/kernel/pid_max":                "4194304",
		"proc/sys/kernel/seccomp/actions_avail":  "kill_process kill_thread trap errno user_notif trace log allow",
		"proc/sys/net/ipv4/ip_forward":           "1",
		"proc/sys/user/max_user_namespaces":      "63000",
		"proc/sys/fs/inotify/max_user_instances": "1024",
		"proc/filesystems":                       "nodev\toverlay\n\terofs\n",
		"proc/meminfo":                           "MemTotal:        8000000 kB\nMemAvailable:    6000000 kB\n",
		"proc/self/mountinfo":                    mountsV2,
		"proc/self/mounts":                       "proc /proc proc rw 0 0\n",
		"sys/fs/cgroup/cgroup.controllers":       "cpuset cpu io memory pids",
		"sys/kernel/security/lsm":                "lockdown,capability,landlock,yama,apparmor",
	}
	for _, ns := range []string{"mnt", "net", "pid", "ipc", "uts", "cgroup"} {
		files["proc/self/ns/"+ns] = ""
	}
	h := Host{
		Files:        fstest.MapFS{},
		Capabilities: 1<<41 - 1,
		Programs:     map[string]bool{},
		EngineDir:    "/opt/engine",
		Tried:        map[Feature]error{Overlay: nil, Links: nil, Rules: nil, Tap: nil, Users: nil, Groups: nil},
		DataDir:      "/var/lib/redoubt/local",
		Machines:     Machines{Dir: "/opt", Tried: true, KVM: kvm.Answer{Works: true}},
		Free:         100 * gib,
		OpenFiles:    1 << 20,
		Ports:        []Port{{Flag: "--http-port", Number: 8080}, {Flag: "--api-port", Number: 6443}},
	}
	for name, text := range files {
		h.with(name, text)
	}
	for _, p := range programs {
		h.Programs[p.name] = true
	}
	return h
}

// with sets a file.
func (h *Host) with(name, text string) {
	h.Files.(fstest.MapFS)[name] = &fstest.MapFile{Data: []byte(text)}
}

func (h *Host) without(name string) { delete(h.Files.(fstest.MapFS), name) }

func TestAHealthyMachinePasses(t *testing.T) {
	r := Examine(healthy())
	for _, f := range r.Findings {
		if f.Level != Passed || f.Remedy != "" || f.Detail == "" || f.Group == "" {
			t.Errorf("%+v", f)
		}
	}
	if r.Passed != len(r.Findings) || r.Failed+r.Warnings > 0 {
		t.Errorf("counts %d, %d, %d of %d findings", r.Passed, r.Warnings, r.Failed, len(r.Findings))
	}
}

func TestV1IsEnough(t *testing.T) {
	h := healthy()
	h.with("proc/self/mountinfo", mountsV1)
	h.without("sys/fs/cgroup/cgroup.controllers")
	if r := Examine(h); r.Passed != len(r.Findings) {
		t.Errorf("%+v", r)
	}
}

func TestEachFaultIsFoundWithARemedy(t *testing.T) {
	refused := errors.New("operation not supported")
	for _, c := range []struct {
		check string
		want  Level
		spoil func(*Host)
	}{
		{"root", Failed, func(h *Host) { h.User = 1000 }},
		{"capabilities", Failed, func(h *Host) { h.Capabilities &^= 1 << unix.CAP_SYS_ADMIN }},
		{"memory killer", Warning, func(h *Host) { h.Capabilities &^= 1 << unix.CAP_SYS_RESOURCE }},
		{"engine", Failed, func(h *Host) { h.EngineMissing = []string{"etcd"} }},
		{"release", Failed, func(h *Host) { h.with("proc/sys/kernel/osrelease", "5.10.0-28-amd64") }},
		{"release", Warning, func(h *Host) { h.without("proc/sys/kernel/osrelease") }},
		{"namespaces", Failed, func(h *Host) { h.without("proc/self/ns/cgroup") }},
		{"overlayfs", Failed, func(h *Host) { h.Tried[Overlay] = refused }},
		{"virtual links", Failed, func(h *Host) { h.Tried[Links] = refused }},
		{"packet filter", Failed, func(h *Host) { h.Tried[Rules] = refused }},
		{"network cards", Warning, func(h *Host) { h.Tried[Tap] = refused }},
		{"network cards", Warning, func(h *Host) { delete(h.Tried, Tap) }},
		{"overlayfs", Warning, func(h *Host) { h.User, h.Tried[Overlay] = 1000, fmt.Errorf("mount: %w", unix.EPERM) }},
		{"forwarding", Failed, func(h *Host) {
			h.with("proc/sys/net/ipv4/ip_forward", "0")
			h.with("proc/self/mounts", "proc /proc proc rw 0 0\nproc /proc/sys proc ro,nosuid 0 0\n")
		}},
		{"EROFS", Warning, func(h *Host) { h.with("proc/filesystems", "nodev\toverlay\n") }},
		{"version", Failed, func(h *Host) { h.with("proc/self/mountinfo", "") }},
		{"controllers", Failed, func(h *Host) { h.with("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids") }},
		{"write access", Failed, func(h *Host) { h.Tried[Groups] = refused }},
		{"freezing", Warning, func(h *Host) {
			h.with("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")
		}},
		{"seccomp", Failed, func(h *Host) { h.without("proc/sys/kernel/seccomp/actions_avail") }},
		{"AppArmor/SELinux", Warning, func(h *Host) { h.with("sys/kernel/security/lsm", "capability,yama") }},
		{"user namespaces", Warning, func(h *Host) { h.Tried[Users] = refused }},
		{"user namespaces", Warning, func(h *Host) { h.with("proc/sys/user/max_user_namespaces", "0") }},
		{"nft", Failed, func(h *Host) { h.Programs["nft"] = false }},
		{"mmdebstrap", Warning, func(h *Host) { h.Programs["mmdebstrap"] = false }},
		{"qemu-system-x86_64", Warning, func(h *Host) { h.Programs["qemu-system-x86_64"] = false }},
		{"mkfs.erofs", Warning, func(h *Host) { h.Programs["mkfs.erofs"] = false }},
		{"guest image", Warning, func(h *Host) { h.Machines.Missing = []string{"guest/vmlinuz"} }},
		{"accelerator", Warning, func(h *Host) { h.Machines.Tried = false }},
		{"accelerator", Warning, func(h *Host) { h.Machines.Tried, h.User = false, 1000 }},
		{"accelerator", Warning, func(h *Host) { h.Machines.KVM = kvm.Answer{Reason: "there is no /dev/kvm"} }},
		{"accelerator", Warning, func(h *Host) { h.Machines.Boots = refused }},
		{"memory", Failed, func(h *Host) { h.with("proc/meminfo", "MemAvailable: 900000 kB\n") }},
		{"memory", Warning, func(h *Host) { h.with("proc/meminfo", "MemAvailable: 1900000 kB\n") }},
		{"memory", Warning, func(h *Host) { h.without("proc/meminfo") }},
		{"disk", Failed, func(h *Host) { h.Free = gib }},
		{"disk", Warning, func(h *Host) { h.Free = 5 * gib }},
		{"open files", Warning, func(h *Host) { h.OpenFiles = 1024 }},
		{"inotify", Failed, func(h *Host) { h.InotifyUsed = 1020 }},
		{"inotify", Warning, func(h *Host) { h.InotifyUsed = 980 }},
		{"inotify", Warning, func(h *Host) { h.without("proc/sys/fs/inotify/max_user_instances") }},
		{"process ids", Warning, func(h *Host) { h.with("proc/sys/kernel/pid_max", "4096") }},
		{"gateway", Failed, func(h *Host) { h.Ports[0].Err = unix.EADDRINUSE }},
		{"API server", Failed, func(h *Host) { h.Ports[1].Err = unix.EACCES }},
	} {
		h := healthy()
		c.spoil(&h)
		findings := Examine(h).Findings
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.Check == c.check })
		if i < 0 {
			t.Errorf("there is no check %q", c.check)
		} else if f := findings[i]; f.Level != c.want || f.Remedy == "" {
			t.Errorf("want %s with a remedy, got %+v", c.want, f)
		}
	}
}

// Both answers say what runs machines, and what their class is called for it.
func TestTheAcceleratorIsSaidWithItsReason(t *testing.T) {
	h := healthy()
	if f := accelerator(h); !strings.Contains(f.Detail, "under KVM") || !strings.Contains(f.Detail, `"vm"`) {
		t.Errorf("%+v", f)
	}
	h.Machines.KVM = kvm.Answer{Reason: "a virtual machine hangs under kvm"}
	if f := accelerator(h); !strings.Contains(f.Detail, "emulation, because a virtual machine hangs under kvm") || !strings.Contains(f.Detail, `"vm-emulated"`) {
		t.Errorf("%+v", f)
	}
}

func TestAnInstanceMayHoldItsOwnPorts(t *testing.T) {
	h := healthy()
	h.Ports[0] = Port{Flag: "--http-port", Number: 8080, Own: true, Err: unix.EADDRINUSE}
	if f := judgePort(h, "--http-port"); f.Level != Passed {
		t.Errorf("%+v", f)
	}
}

func TestAModuleCountsAsAFileSystem(t *testing.T) {
	h := healthy()
	h.with("proc/filesystems", "nodev\toverlay\n")
	h.with("lib/modules/6.12.9-amd64/modules.dep", "kernel/fs/erofs/erofs.ko.xz: kernel/lib/lz4.ko\n")
	if !h.hasFileSystem("erofs") || h.hasFileSystem("xfs") {
		t.Error("modules.dep is not read right")
	}
}

// TestGatherTriesAndLeavesNothing is about this machine, whatever it can do:
// each feature was tried, a port in use is seen, nothing is left behind.
func TestGatherTriesAndLeavesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	inst, err := instance.New("doctor-test", filepath.Join(dir, "not", "there", "yet"))
	if err != nil {
		t.Fatal(err)
	}
	h := Gather(t.Context(), Options{Instance: inst, HTTPPort: l.Addr().(*net.TCPAddr).Port})
	features := slices.Sorted(maps.Keys(h.Tried))
	if want := []Feature{Groups, Links, Overlay, Rules, Tap, Users}; !slices.Equal(features, want) {
		t.Errorf("tried %v, want %v", features, want)
	}
	for feature, err := range h.Tried {
		t.Logf("%s: %v", feature, err)
	}
	if !errors.Is(h.Ports[0].Err, unix.EADDRINUSE) || h.Ports[1].Err != nil {
		t.Errorf("ports %+v", h.Ports)
	}
	if h.Free == 0 {
		t.Error("no room found where the test could write")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
