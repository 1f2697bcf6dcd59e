package probe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attempts are by the name of what they need of a sandbox.
var attempts = map[string]func() error{
	"mounts":               mount,
	"device nodes":         device,
	"processes of others":  look,
	"control groups":       group,
	"links by netlink":     link,
	"raw sockets":          func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) },
	"packet sockets":       func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) },
	"IPv6":                 func() error { return socket(unix.AF_INET6, unix.SOCK_STREAM, 0) },
	"kernel settings":      func() error { return open("/proc/sys/kernel/core_pattern", unix.O_WRONLY) },
	"FUSE":                 func() error { return open("/dev/fuse", unix.O_RDWR) },
	"user namespaces":      userNamespace,
	"nested containers":    nested,
	"ptrace":               trace,
	"files by handle":      handle,
	"eBPF":                 bpf,
	"performance counters": counter,
	"io_uring":             ring,
	"keyrings":             keyring,
	"Landlock":             landlock,
}

func mount() error {
	dir, err := os.MkdirTemp("/", "probe")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if err := unix.Mount("probe", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	return unix.Unmount(dir, unix.MNT_DETACH)
}

// device makes the kernel's log, which is the node's where the kernel is.
func device() error {
	const path = "/probe-kmsg"
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11))); err != nil {
		return err
	}
	defer os.Remove(path)
	return open(path, unix.O_RDONLY|unix.O_NONBLOCK)
}

// look finds a process with other mounts; where it leads to, only who may trace
// the process can see.
func look() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/mnt")
	if err != nil {
		return err
	}
	for _, l := range links {
		if other, err := os.Readlink(l); err == nil && other != own {
			return nil
		}
	}
	return fmt.Errorf("none among %d processes", len(links))
}

// group looks for a hierarchy of control groups that can be written to. What
// they hang in may be the container's own.
func group() error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		return err
	}
	failed := errors.New("there are no control groups")
	for _, dir := range append(dirs, "/sys/fs/cgroup") {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.CGROUP_SUPER_MAGIC && fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		path := filepath.Join(dir, "redoubt-probe")
		if failed = os.Mkdir(path, 0o700); failed == nil {
			return os.Remove(path)
		}
	}
	return failed
}

// link joins the container's own network to itself.
func link() error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "probe0"}, PeerName: "probe1"}
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	return netlink.LinkDel(pair)
}

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func userNamespace() error {
	cmd := exec.Command("/proc/self/exe", Child)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	return cmd.Run()
}

// nested starts a process with what a container has of its own, as who may do so
// anyway, or as root of a user namespace.
func nested() error {
	const own = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	cmd := exec.Command("/proc/self/exe", Child)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: own}
	if cmd.Run() == nil {
		return nil
	}
	cmd = exec.Command("/proc/self/exe", Child)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  own | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

// trace stops a child at its first instruction and lets it go.
func trace() error {
	runtime.LockOSThread() // whose thread started the child traces it
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", Child)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(cmd.Process.Pid, &status, 0, nil); err != nil {
		return err
	}
	if err := unix.PtraceDetach(cmd.Process.Pid); err != nil {
		return err
	}
	return cmd.Wait()
}

// handle opens a folder past its path.
func handle() error {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/dev", 0)
	if err != nil {
		return err
	}
	mount, err := unix.Open("/dev", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	fd, err := unix.OpenByHandleAt(mount, h, unix.O_RDONLY)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// bpf makes an array of one number.
func bpf() error {
	attributes := struct{ kind, key, value, entries uint32 }{unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1}
	return opens(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes), 0)
}

func counter() error {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
	}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func ring() error {
	var parameters [120]byte // struct io_uring_params, all zero
	return opens(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&parameters)), 0, 0)
}

func keyring() error {
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true)
	return err
}

// landlock asks for the version of the interface.
func landlock() error {
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return errno
	}
	return nil
}

// opens makes a call that returns a file.
func opens(call, a, b, c, d uintptr) error {
	fd, _, errno := unix.Syscall6(call, a, b, c, d, 0, 0)
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}
