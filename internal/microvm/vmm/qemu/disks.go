package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// Places on the command line have names; a disk's are made of its number.
func deviceID(a vmm.DiskAddress) string { return fmt.Sprintf("disk%d", a) }
func nodeName(a vmm.DiskAddress) string { return fmt.Sprintf("layer%d", a) }

// AddDisk hands QEMU the file itself (add-fd): it opens no path.
func (m *Machine) AddDisk(ctx context.Context, disk vmm.Disk) (_ vmm.DiskAddress, err error) {
	address, err := m.reserve()
	if err != nil {
		return 0, fmt.Errorf("add a disk: %w", err)
	}
	defer func() {
		if err != nil {
			// What is given up halfway, QEMU may do all the same.
			if ctx.Err() == nil {
				m.release(address)
			}
			err = m.failed("add a disk", err)
		}
	}()
	set, err := m.addFile(ctx, disk.File)
	if err != nil {
		return 0, err
	}
	if err := m.addNode(ctx, address, set, disk); err != nil {
		return 0, errors.Join(err, m.removeFile(ctx, set))
	}
	// QEMU has its own copy of the file now; the set is of no more use.
	if err := m.removeFile(ctx, set); err != nil {
		return 0, err
	}
	err = m.monitor.Do(ctx, "device_add", map[string]any{
		"driver": "scsi-hd", "bus": "scsi.0", "scsi-id": address, "lun": 0,
		"id": deviceID(address), "drive": nodeName(address),
	}, nil)
	if err != nil {
		return 0, errors.Join(err, m.removeNode(ctx, address))
	}
	return address, nil
}

// RemoveDisk unplugs the device, waits until QEMU has dropped it, and closes
// the file.
func (m *Machine) RemoveDisk(ctx context.Context, address vmm.DiskAddress) error {
	if err := m.unplug(ctx, deviceID(address)); err != nil {
		return m.failed("remove a disk", err)
	}
	if err := m.removeNode(ctx, address); err != nil {
		return m.failed("remove a disk", err)
	}
	m.release(address)
	return nil
}

func (m *Machine) reserve() (vmm.DiskAddress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for a := range vmm.DiskAddress(vmm.MaxDisks) {
		if !m.disks[a] {
			m.disks[a] = true
			return a, nil
		}
	}
	return 0, vmm.ErrNoRoom
}

func (m *Machine) release(a vmm.DiskAddress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.disks, a)
}

func (m *Machine) awaitDeletion(device string) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := make(chan struct{})
	m.gone[device] = gone
	return gone
}

// addFile passes a file to QEMU and returns the set it is in.
func (m *Machine) addFile(ctx context.Context, file *os.File) (int, error) {
	var answer struct {
		Set int `json:"fdset-id"`
	}
	err := m.monitor.Do(ctx, "add-fd", nil, &answer, file)
	return answer.Set, err
}

func (m *Machine) removeFile(ctx context.Context, set int) error {
	return m.monitor.Do(ctx, "remove-fd", map[string]any{"fdset-id": set}, nil)
}

func (m *Machine) addNode(ctx context.Context, address vmm.DiskAddress, set int, disk vmm.Disk) error {
	info, err := disk.File.Stat()
	if err != nil {
		return err
	}
	driver := "file"
	if info.Mode()&os.ModeDevice != 0 {
		driver = "host_device"
	}
	return m.monitor.Do(ctx, "blockdev-add", map[string]any{
		"driver": "raw", "node-name": nodeName(address), "read-only": disk.ReadOnly,
		// Trimmed blocks go back to the host.
		"discard": "unmap",
		"file": map[string]any{
			"driver": driver, "filename": fmt.Sprintf("/dev/fdset/%d", set), "read-only": disk.ReadOnly,
			"discard": "unmap",
			// Many machines read one layer; nobody but this one has the file of
			// a writable disk.
			"locking": "off",
		},
	}, nil)
}

func (m *Machine) removeNode(ctx context.Context, address vmm.DiskAddress) error {
	return m.monitor.Do(ctx, "blockdev-del", map[string]any{"node-name": nodeName(address)}, nil)
}

// failed names the step, and says ErrEnded when that is the cause.
func (m *Machine) failed(step string, err error) error {
	select {
	case <-m.done:
		return fmt.Errorf("%s: %w", step, vmm.ErrEnded)
	default:
		return fmt.Errorf("%s: %w", step, err)
	}
}
