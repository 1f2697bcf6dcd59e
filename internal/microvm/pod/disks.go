package pod

import (
	"context"
	"fmt"
	"os"
	"sync"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// disks are the files that are plugged into a machine, each once however many
// containers use it. They stay for the pod's life: the next container of the
// same image finds them, and the guest keeps them mounted.
type disks struct {
	machine vmm.Machine
	mu      sync.Mutex // guards places
	places  map[string]*place
}

type place struct {
	once    sync.Once
	address vmm.DiskAddress
	err     error
}

func newDisks(m vmm.Machine) *disks { return &disks{machine: m, places: map[string]*place{}} }

// Layers plugs the files in, read-only, and returns where the guest finds
// each.
func (p *Pod) Layers(ctx context.Context, files []string) ([]uint32, error) {
	addresses := make([]uint32, len(files))
	for i, file := range files {
		address, err := p.disks.plug(ctx, file)
		if err != nil {
			return nil, fmt.Errorf("plug in layer %s: %w", file, err)
		}
		addresses[i] = uint32(address)
	}
	return addresses, nil
}

func (d *disks) plug(ctx context.Context, file string) (vmm.DiskAddress, error) {
	d.mu.Lock()
	at, known := d.places[file]
	if !known {
		at = &place{}
		d.places[file] = at
	}
	d.mu.Unlock()
	at.once.Do(func() { at.address, at.err = d.add(ctx, file) })
	if at.err != nil {
		d.mu.Lock()
		delete(d.places, file)
		d.mu.Unlock()
	}
	return at.address, at.err
}

func (d *disks) add(ctx context.Context, file string) (vmm.DiskAddress, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return d.machine.AddDisk(ctx, vmm.Disk{File: f, ReadOnly: true})
}
