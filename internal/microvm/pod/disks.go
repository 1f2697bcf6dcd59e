package pod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/wire"
)

// disks are the files and devices that are plugged into a machine, each once however many
// containers use it. They stay for the pod's life: the next container of the
// same image finds them, and the guest keeps them mounted.
type disks struct {
	machine vmm.Machine
	mu      sync.Mutex // guards places
	places  map[source]*place
}

// source is a file or block device of the host's, and how it is opened.
type source struct {
	file     string
	readOnly bool
}

type place struct {
	once    sync.Once
	address vmm.DiskAddress
	err     error
}

func newDisks(m vmm.Machine) *disks { return &disks{machine: m, places: map[source]*place{}} }

// Layers plugs the files in, read-only, and returns where the guest finds
// each.
func (p *Pod) Layers(ctx context.Context, files []string) ([]uint32, error) {
	addresses := make([]uint32, len(files))
	for i, file := range files {
		address, err := p.disks.plug(ctx, source{file: file, readOnly: true})
		if err != nil {
			return nil, fmt.Errorf("plug in layer %s: %w", file, err)
		}
		addresses[i] = uint32(address)
	}
	return addresses, nil
}

// Devices plugs the host's block devices in and replaces their numbers by where
// the guest finds each. One whose mode lets nobody write is read-only.
func (p *Pod) Devices(ctx context.Context, list []wire.Device) error {
	for i := range list {
		d := &list[i]
		if !d.Block {
			continue
		}
		file, err := blockDevice(d.Major, d.Minor)
		if err != nil {
			return fmt.Errorf("device %s: %w", d.Path, err)
		}
		address, err := p.disks.plug(ctx, source{file: file, readOnly: d.Mode&0o222 == 0})
		if err != nil {
			return fmt.Errorf("device %s: plug in %s: %w", d.Path, file, err)
		}
		d.Disk, d.Major, d.Minor = uint32(address), 0, 0
	}
	return nil
}

// blockDevice is the file of the host's device with these numbers, by the name
// that the kernel gave it.
func blockDevice(major, minor uint32) (string, error) {
	uevent, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/uevent", major, minor))
	if err != nil {
		return "", fmt.Errorf("find block device %d:%d: %w", major, minor, err)
	}
	for line := range strings.Lines(string(uevent)) {
		name, is := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME=")
		if !is {
			continue
		}
		file := filepath.Join("/dev", name)
		var s unix.Stat_t
		if err := unix.Stat(file, &s); err != nil {
			return "", fmt.Errorf("find block device %d:%d: %s: %w", major, minor, file, err)
		}
		if s.Mode&unix.S_IFMT != unix.S_IFBLK || s.Rdev != unix.Mkdev(major, minor) {
			return "", fmt.Errorf("find block device %d:%d: %s is another one", major, minor, file)
		}
		return file, nil
	}
	return "", fmt.Errorf("find block device %d:%d: the kernel has no name for it", major, minor)
}

func (d *disks) plug(ctx context.Context, from source) (vmm.DiskAddress, error) {
	d.mu.Lock()
	at, known := d.places[from]
	if !known {
		at = &place{}
		d.places[from] = at
	}
	d.mu.Unlock()
	at.once.Do(func() { at.address, at.err = d.add(ctx, from) })
	if at.err != nil {
		d.mu.Lock()
		delete(d.places, from)
		d.mu.Unlock()
	}
	return at.address, at.err
}

func (d *disks) add(ctx context.Context, from source) (vmm.DiskAddress, error) {
	mode := os.O_RDWR
	if from.readOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(from.file, mode, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return d.machine.AddDisk(ctx, vmm.Disk{File: f, ReadOnly: from.readOnly})
}
