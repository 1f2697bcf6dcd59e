package qemu

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
// after. Roots made from files that are gone are removed by Sweep.
func Prepare(ctx context.Context, dir string, image Image) (Root, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return Root{}, fmt.Errorf("the program %s is missing; install it with: apt-get install qemu-system-x86", program)
	}
	key, err := fingerprint(path, "/etc/ld.so.cache", image.Kernel, image.Initramfs, image.MemoryGuard)
	if err != nil {
		return Root{}, err
	}
	root := Root{Dir: filepath.Join(dir, key), Key: key}
	if root.Libraries, err = readLibraries(root.Dir); err == nil {
		return root, nil
	}
	if err := build(ctx, dir, root.Dir, path, image); err != nil {
		return Root{}, fmt.Errorf("prepare the files of a virtual machine: %w", err)
	}
	root.Libraries, err = readLibraries(root.Dir)
	return root, err
}

// fingerprint identifies files without reading them: a package that is
// upgraded replaces them, which changes their inode and time.
func fingerprint(paths ...string) (string, error) {
	h := sha256.New()
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return "", fmt.Errorf("guest image: %w", &os.PathError{Op: "stat", Path: path, Err: err})
		}
		fmt.Fprintln(h, path, st.Dev, st.Ino, st.Size, st.Mtim.Nano())
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// build makes the folder beside its place and moves it there whole: what has
// the name is complete, whoever was interrupted or first.
func build(ctx context.Context, dir, final, qemu string, image Image) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, ".root-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	files := map[string]string{kernelFile: image.Kernel, initrdFile: image.Initramfs, memoryGuard: image.MemoryGuard, "/" + program: qemu}
	for _, path := range settings {
		if exists(path) {
			files[path] = path
		}
	}
	if err := addFirmware(ctx, qemu, files); err != nil {
		return err
	}
	if err := addLibraries(ctx, qemu, files); err != nil {
		return err
	}
	for to, from := range files {
		if err := copyFile(filepath.Join(tmp, to), from); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join(tmp, kvmDevice), "/dev/null"); err != nil {
		return err
	}
	if err := writeLibraries(tmp, files); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

// addFirmware finds QEMU's data files where this QEMU looks for them.
func addFirmware(ctx context.Context, qemu string, files map[string]string) error {
	dirs, err := output(ctx, qemu, "-L", "help")
	if err != nil {
		return err
	}
	for _, name := range firmware {
		from, err := firstFile(strings.Fields(string(dirs)), name)
		if err != nil {
			return err
		}
		files[filepath.Join(firmwareDir, name)] = from
	}
	modules := []string{"/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu", "/usr/lib/qemu"}
	// QEMU may have its translator built in.
	if from, err := firstFile(modules, "accel-tcg-x86_64.so"); err == nil {
		files[filepath.Join(moduleDir, "accel-tcg-x86_64.so")] = from
	}
	return nil
}

func firstFile(dirs []string, name string) (string, error) {
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("qemu's file %s is missing from %s; install it with: apt-get install qemu-system-x86", name, strings.Join(dirs, ", "))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// interpreter is the dynamic linker of the x86-64 ABI.
const interpreter = "/lib64/ld-linux-x86-64.so.2"

// addLibraries asks the dynamic linker what QEMU would be linked with. They
// keep their paths.
func addLibraries(ctx context.Context, qemu string, files map[string]string) error {
	list, err := output(ctx, interpreter, "--list", qemu)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) >= 3 && fields[1] == "=>" && filepath.IsAbs(fields[2]) {
			files[fields[2]] = fields[2]
		}
	}
	files[interpreter] = interpreter
	return nil
}

func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, nil
}

// librariesFile lists a root's library folders. It is written last.
const librariesFile = "libraries"

func writeLibraries(root string, files map[string]string) error {
	dirs := map[string]bool{}
	for path, from := range files {
		if path == from && !slices.Contains(settings, path) { // libraries keep their paths
			dirs[filepath.Dir(path)] = true
		}
	}
	var lines strings.Builder
	for dir := range dirs {
		fmt.Fprintln(&lines, dir)
	}
	return os.WriteFile(filepath.Join(root, librariesFile), []byte(lines.String()), 0o444)
}

func readLibraries(root string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(root, librariesFile))
	return strings.Fields(string(data)), err
}

// copyFile copies content alone: the copy is root's, and readable and
// executable by all whatever the original was.
func copyFile(to, from string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o555)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		return errors.Join(err, dst.Close())
	}
	return dst.Close()
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
