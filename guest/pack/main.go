// Command pack makes the two files that a microVM boots, from an unpacked
// kernel package and the agent: vmlinuz is the package's, initramfs holds the
// agent as /init and, in /modules, the kernel modules it loads at its start.
// Their names begin with two digits: that order satisfies what each depends
// on. Beside them it makes rehearsal.erofs, the layer of the container that
// spare machines try everything with.
//
// Files that would not change are left alone, time of change and all: what is
// made from them (the templates of virtual machines) stays valid.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// wanted are the modules that the guest uses; what they need is added.
var wanted = []string{
	"virtio_pci", "virtio_mmio", // how devices are found
	"virtio_console",        // the agent's channel
	"virtio_scsi", "sd_mod", // disks
	"virtio_net", "virtio_rng",
	"virtio_mem", "virtio_balloon", // memory that comes and goes
	"erofs", "overlay", // images and what is written above them
	"fuse", "virtiofs", "loop", // volumes
	"tun", "bridge", // networks of containers' own
}

func main() {
	kernel := flag.String("kernel", "", "folder of the unpacked kernel package")
	agent := flag.String("init", "", "the agent")
	out := flag.String("out", "", "folder to write to")
	flag.Parse()
	if err := run(*kernel, *agent, *out); err != nil {
		fmt.Fprintln(os.Stderr, "make the guest image:", err)
		os.Exit(1)
	}
}

func run(kernel, agent, out string) error {
	image, err := only(filepath.Join(kernel, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	tree, err := only(filepath.Join(kernel, "lib", "modules", "*"))
	if err != nil {
		return err
	}
	modules, err := resolve(tree, wanted)
	if err != nil {
		return err
	}
	initramfs, err := pack(agent, modules)
	if err != nil {
		return err
	}
	vmlinuz, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	layer, err := rehearsal()
	if err != nil {
		return err
	}
	return errors.Join(
		update(filepath.Join(out, "vmlinuz"), vmlinuz),
		update(filepath.Join(out, "initramfs"), initramfs),
		update(filepath.Join(out, "rehearsal.erofs"), layer))
}

// only is the one file that matches pattern.
func only(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s matches %d files, not one; is this an unpacked kernel package?", pattern, len(found))
	}
	return found[0], nil
}

// pack makes the archive that the kernel unpacks as its first root.
func pack(agent string, modules []module) ([]byte, error) {
	var a archive
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "modules"} {
		a.folder(dir)
	}
	// The kernel opens it as the agent's standard streams before the agent has
	// mounted /dev.
	a.device("dev/console", 5, 1)
	content, err := os.ReadFile(agent)
	if err != nil {
		return nil, err
	}
	a.file("init", 0o755, content)
	for i, m := range modules {
		content, err := os.ReadFile(m.path)
		if err != nil {
			return nil, err
		}
		a.file(fmt.Sprintf("modules/%02d-%s.ko", i, m.name), 0o644, content)
	}
	return a.bytes(), nil
}

// update replaces the file at path, unless it has that content.
func update(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
