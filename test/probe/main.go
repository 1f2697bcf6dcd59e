// Command probe tries, inside a container, what a sandbox keeps its workload
// from doing to the node, and prints what came of each attempt. It harms
// nothing where an attempt succeeds: that is how tests know that the attempts
// are real.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var attempts = []struct {
	name string
	try  func() error
}{
	{"mount a file system", mount},
	{"make a device and read it", device},
	{"look into a process of others", look},
	{"make a control group", group},
	{"add a link by netlink", link},
	{"open a raw socket", func() error { return socket(unix.AF_INET, unix.IPPROTO_ICMP) }},
	{"open a packet socket", func() error { return socket(unix.AF_PACKET, 0) }},
	{"change what the kernel does with core dumps", func() error { return open("/proc/sys/kernel/core_pattern", unix.O_WRONLY) }},
	{"make a user namespace", userNamespace},
	{"open files by their handles", func() error { return reaches(unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0) }},
	{"load a program into the kernel", func() error { return reaches(unix.SYS_BPF, 0, 0, 0) }},
	{"read counters of the processor", func() error { return reaches(unix.SYS_PERF_EVENT_OPEN, 0, 0, ^uintptr(0)) }},
	{"set up io_uring", func() error { return reaches(unix.SYS_IO_URING_SETUP, 1, 0, 0) }},
	{"use the kernel's keyrings", func() error { return reaches(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, 0, 0) }},
}

func main() {
	if len(os.Args) > 1 {
		return // the child of an attempt
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // empty where there is none: another kernel
	fmt.Printf("kernel\t%s\n", strings.TrimSpace(string(boot)))
	for _, a := range attempts {
		answer := "done"
		if err := a.try(); err != nil {
			answer = err.Error()
		}
		fmt.Printf("%s\t%s\n", a.name, answer)
	}
	fmt.Println("end\t")
	select {} // the test reads the log
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

func socket(family, protocol int) error {
	fd, err := unix.Socket(family, unix.SOCK_RAW, protocol)
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
	cmd := exec.Command("/proc/self/exe", "child")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	return cmd.Run()
}

// reaches makes a call that cannot work, and succeeds when it fails for what
// it asks, not for who asks.
func reaches(call uintptr, a, b, c uintptr) error {
	_, _, errno := unix.Syscall6(call, a, b, c, 0, 0, 0)
	if errno == unix.EPERM || errno == unix.EACCES || errno == unix.ENOSYS {
		return errno
	}
	return nil
}
