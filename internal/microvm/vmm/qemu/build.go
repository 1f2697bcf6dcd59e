package qemu

import (
	"bufio"
	"bytes"
	"context"
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

// build makes the folder beside its place and moves it there whole: what has
// the name is complete, whoever was interrupted or first.
func build(ctx context.Context, dir, final, qemu string, image Image, from sources) (err error) {
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
	if err := os.MkdirAll(filepath.Join(tmp, filepath.Dir(kvmDevice)), 0o755); err != nil {
		return err
	}
	if err := from.write(tmp); err != nil {
		return err
	}
	if err := writeLibraries(tmp, files); err != nil {
		return err
	}
	if err := Sync(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

// Sync makes what is in a folder outlast a loss of power: once it has its name it
// counts as complete.
func Sync(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
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
