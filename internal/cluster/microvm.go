package cluster

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The shim and, in a folder beside it, what its virtual machines boot.
const (
	microVMShim  = "containerd-shim-redoubt-v2"
	microVMImage = "guest/vmlinuz"
)

// microVM is the path of the shim that runs pods in virtual machines; empty if
// anything that it needs is missing: then the instance does without the class.
func microVM() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	dir := filepath.Dir(self)
	for _, file := range []string{microVMShim, microVMImage} {
		if !exists(filepath.Join(dir, file)) {
			return ""
		}
	}
	for _, program := range []string{"qemu-system-x86_64", "mkfs.erofs"} {
		if _, err := exec.LookPath(program); err != nil {
			return ""
		}
	}
	if !hasFileSystem("erofs") {
		return "" // image layers are such file systems
	}
	return filepath.Join(dir, microVMShim)
}

// hasFileSystem says whether the kernel has the file system, and has it load its
// module: containerd looks into /proc/filesystems when it starts, and never again
// for what is loaded by the first mount.
func hasFileSystem(name string) bool {
	fd, err := unix.Fsopen(name, unix.FSOPEN_CLOEXEC)
	if err == nil {
		_ = unix.Close(fd)
	}
	return !errors.Is(err, unix.ENODEV)
}
