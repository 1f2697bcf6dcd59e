// Package idmap finds out whether this machine can give pods user namespaces:
// whether files can be shown to such a namespace under other owners, which
// depends on the kernel and on the file system. See mount_setattr(2) and
// KEP-127.
package idmap

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"redoubt.dev/redoubt/internal/thread"
)

// Try maps a folder's file system, and one in memory as Kubernetes uses for
// secrets, into a user namespace. The error says which of them is refused.
// Nothing of it remains.
func Try(dir string) error {
	users, err := namespace()
	if err != nil {
		return fmt.Errorf("make a user namespace: %w", err)
	}
	defer users.Close()
	if err := tryFolder(dir, users); err != nil {
		return fmt.Errorf("map the owners of files in %s: %w", dir, err)
	}
	if err := tryMemory(users); err != nil {
		return fmt.Errorf("map the owners of files in memory: %w", err)
	}
	return nil
}

// namespace makes a user namespace whose root is nobody outside. It lives as
// long as the file is open.
func namespace() (*os.File, error) {
	const first, size = 65536, 65536 // what the kubelet gives its first pod
	pid, end, err := thread.Idle(syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: first, Size: size}},
		GidMappings: []syscall.SysProcIDMap{{HostID: first, Size: size}},
	})
	if err != nil {
		return nil, err
	}
	defer end()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
}

func tryFolder(dir string, users *os.File) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return mapOwners(tree, users)
}

func tryMemory(users *os.File) error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	tree, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return mapOwners(tree, users)
}

func mapOwners(tree int, users *os.File) error {
	return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set:  unix.MOUNT_ATTR_IDMAP,
		Userns_fd: uint64(users.Fd()),
	})
}
