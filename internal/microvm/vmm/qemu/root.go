package qemu

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Image is what a machine boots: files on the host, named by absolute paths.
type Image struct {
	Kernel, Initramfs string
	// MemoryGuard is guest/memory.c, built.
	MemoryGuard string
}

// ImageIn is the image in a folder, as 'make guest' leaves it.
func ImageIn(dir string) Image {
	return Image{filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initramfs"), filepath.Join(dir, "memory.so")}
}

// program is QEMU as it is called on the host and inside a jail.
const program = "qemu-system-x86_64"

// firmware is what QEMU needs of its data files for the machines made here.
var firmware = []string{"bios-256k.bin", "bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin"}

// Where things are inside a root.
const (
	firmwareDir = "/firmware"
	moduleDir   = "/modules"
	kernelFile  = "/guest/vmlinuz"
	initrdFile  = "/guest/initramfs"
)

// settings are files of the host's that QEMU reads to choose how it maps memory.
var settings = []string{"/proc/sys/vm/overcommit_memory", "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"}

// Root is a folder that a machine's process sees as its whole file system:
// QEMU with the libraries and firmware it needs, the guest's kernel and
// initramfs, and nothing else of the host.
type Root struct {
	// Dir is the folder. Root alone can write it.
	Dir string
	// Key names what it was made from; it changes when any of it does.
	Key string
	// Libraries are the folders inside it that hold shared libraries.
	Libraries []string
}

// Prepare makes the root for image below dir, unless it is there already. It
// takes about a fifth of a second the first time and a few system calls
// after. Sweep removes roots whose files were replaced.
func Prepare(ctx context.Context, dir string, image Image) (Root, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return Root{}, fmt.Errorf("the program %s is missing; install it with: apt-get install qemu-system-x86", program)
	}
	from, err := describe(path, "/etc/ld.so.cache", image.Kernel, image.Initramfs, image.MemoryGuard)
	if err != nil {
		return Root{}, err
	}
	root := Root{Dir: filepath.Join(dir, from.key()), Key: from.key()}
	if root.Libraries, err = readLibraries(root.Dir); err == nil {
		return root, nil
	}
	if err := build(ctx, dir, root.Dir, path, image, from); err != nil {
		return Root{}, fmt.Errorf("prepare the files of a virtual machine: %w", err)
	}
	root.Libraries, err = readLibraries(root.Dir)
	return root, err
}

// environment is what QEMU needs to find its parts.
func (r Root) environment(from origin) []string {
	env := []string{"LD_LIBRARY_PATH=" + strings.Join(r.Libraries, ":"), "QEMU_MODULE_DIR=" + moduleDir}
	if from == copied {
		env = append(env, "LD_PRELOAD="+memoryGuard)
	}
	return env
}

// Link makes dir a second root with the same files, which share their content
// with the first: for a saved machine, whose memory goes with them.
func (r Root) Link(dir string) (Root, error) {
	err := filepath.WalkDir(r.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, r.Dir))
		if entry.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		return os.Link(path, to)
	})
	if err != nil {
		return Root{}, fmt.Errorf("link the files of a virtual machine: %w", err)
	}
	return r.At(dir), nil
}

// At is a root with r's files that Link made in dir earlier.
func (r Root) At(dir string) Root { return Root{dir, r.Key, r.Libraries} }

// CreateMemory makes the file that holds a saved machine's memory in the root.
func (r Root) CreateMemory() (*os.File, error) {
	return os.OpenFile(filepath.Join(r.Dir, memoryFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o444)
}
