// Package idmap finds out whether this machine can give pods user namespaces:
// whether files can be shown to such a namespace under other owners, which
// depends on the kernel and on the file system. See mount_setattr(2) and
// KEP-127.
package idmap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"redoubt.dev/redoubt/internal/thread"
)

// Try maps a folder's file system, and one in memory as Kubernetes uses for
// secrets, into a user namespace. The error says which of them is refused.
// Nothing of it remains.
func Try(dir string) (err error) {
	users, end, err := namespace()
	if err != nil {
		return fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := tryFolder(dir, users); err != nil {
		return fmt.Errorf("map the owners of files in %s: %w", dir, err)
	}
	if err := tryMemory(users); err != nil {
		return fmt.Errorf("map the owners of files in memory: %w", err)
	}
	return nil
}

// namespace makes a user namespace whose root is nobody outside. It lives as
// long as a process in it, which end ends.
func namespace() (users *os.File, end func() error, err error) {
	const first, size = 65536, 65536 // what the kubelet gives its first pod
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: first, Size: size}},
		GidMappings: []syscall.SysProcIDMap{{HostID: first, Size: size}},
		Pdeathsig:   syscall.SIGKILL,
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	ended, err := thread.Start(cmd)
	if err != nil {
		return nil, nil, errors.Join(err, input.Close())
	}
	stop := func() error {
		err := input.Close()
		<-ended
		return err
	}
	users, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return users, func() error { return errors.Join(users.Close(), stop()) }, nil
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
