package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// modulesDir holds kernel modules, named so that each comes after those it
// needs.
const modulesDir = "/modules"

// boot makes the machine usable: file systems, modules, loopback.
func boot() error {
	for _, step := range []func() error{
		leaveInitramfs, mountKernelFiles, relaxTimers, loadModules, prepareCgroups, loopbackUp, prepareState,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// leaveInitramfs puts a mount over the initial root file system, which itself
// can never be left: a container's root could not replace it.
func leaveInitramfs() error {
	if err := os.MkdirAll("/run", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/", "/run", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the root: %w", err)
	}
	if err := unix.Chdir("/run"); err != nil {
		return err
	}
	if err := unix.Mount("/run", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	return unix.Chdir("/")
}

func mountKernelFiles() error {
	for _, m := range []struct {
		kind, target, data string
		flags              uintptr
	}{
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
		{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
		{"cgroup2", "/sys/fs/cgroup", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		// The kernel may have mounted devtmpfs itself.
		if err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.data); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// timerSlack is how late the agent's timers may be, in nanoseconds, and
// usualSlack how late those of containers' processes, as everywhere.
//
// While anything in a Go program runs, its runtime looks after it every 20 µs,
// and in a virtual machine each look is a timer to program and an interrupt: with
// emulation, more than half of what the emulator's threads wake for while a pod
// starts.
const (
	timerSlack = 1_000_000
	usualSlack = 50_000
)

// relaxTimers lets the agent's timers be late, those of threads to come as well.
func relaxTimers() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		// The file is not among those of threads; this one is the thread's all the same.
		if err := os.WriteFile("/proc/"+thread.Name()+"/timerslack_ns", []byte(strconv.Itoa(timerSlack)), 0); err != nil {
			return fmt.Errorf("relax timers: %w", err)
		}
	}
	return nil
}

// loadModules loads what the guest image brought, in the order of the files'
// names; a kernel with everything built in has none.
func loadModules() error {
	files, err := filepath.Glob(modulesDir + "/*.ko")
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := loadModule(file); err != nil {
			return fmt.Errorf("load module %s: %w", file, err)
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// prepareCgroups lets every container be limited.
func prepareCgroups() error {
	available, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("control groups: %w", err)
	}
	for controller := range strings.FieldsSeq(string(available)) {
		// One that cannot be enabled limits nothing; the others still do.
		_ = os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+"+controller), 0)
	}
	return nil
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

func prepareState() error {
	for _, dir := range []string{containersDir, volumesDir, layersDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// lastCapability is the highest that this kernel knows.
func lastCapability() int {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return unix.CAP_LAST_CAP
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || last < 0 || last > 63 {
		return unix.CAP_LAST_CAP
	}
	return last
}
