package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
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
	return filepath.Join(dir, microVMShim)
}
