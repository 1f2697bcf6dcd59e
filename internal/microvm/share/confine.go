package share

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine makes f's folder the root of this process, which has a mount
// namespace of its own, and gives up what serving files does not need.
func confine(f Folder) error {
	spread := uintptr(unix.MS_PRIVATE)
	if f.Follow {
		spread = unix.MS_SLAVE
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|spread, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	if err := unix.Mount(f.Path, f.Path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount the folder: %w", err)
	}
	if err := protect(f); err != nil {
		return err
	}
	if err := unix.Chdir(f.Path); err != nil {
		return err
	}
	// The old root is stacked under the new one and then let go (pivot_root(2)).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let the old root go: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return drop()
}

// protect opens no device, whatever files the folder has, and lets only what may
// be written be.
func protect(f Folder) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(unix.AT_FDCWD, f.Path, unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("keep the folder's devices shut (needs Linux 5.12): %w", err)
	}
	flags := uint(0)
	switch f.ReadOnly {
	case Nothing:
		return nil
	case Top:
	case Everything:
		flags = unix.AT_RECURSIVE
	default:
		return fmt.Errorf("read-only %q: say nothing, top or everything", f.ReadOnly)
	}
	attr = &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, f.Path, flags, attr); err != nil {
		return fmt.Errorf("protect the folder (needs Linux 5.12): %w", err)
	}
	return nil
}

// kept are the capabilities that file operations of the guest's users need:
// its root may do with the folder's files what the host's may.
const kept = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

// drop leaves all threads of the process with these alone, for good.
func drop() error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		return fmt.Errorf("give up new privileges: %w", errno)
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{{Effective: kept, Permitted: kept}}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)), 0)
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}
