package qemu

import (
	"context"
	"fmt"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// memoryDevice is the device through which memory comes and goes.
const memoryDevice = "memory"

// memoryStep is what virtio-mem adds and removes at a time, in bytes.
const memoryStep = 2 << 20

// SetMemory asks the guest, through virtio-mem, to take or give back the
// memory above what it started with.
func (m *Machine) SetMemory(ctx context.Context, bytes int64) (int64, error) {
	if bytes < m.shape.Memory || bytes > m.shape.MaxMemory {
		return 0, fmt.Errorf("set memory: %d bytes: use %d to %d", bytes, m.shape.Memory, m.shape.MaxMemory)
	}
	more := (bytes - m.shape.Memory) / memoryStep * memoryStep
	if m.shape.MaxMemory == m.shape.Memory {
		return m.shape.Memory, nil
	}
	err := m.monitor.Do(ctx, "qom-set", map[string]any{
		"path": "/machine/peripheral/" + memoryDevice, "property": "requested-size", "value": more,
	}, nil)
	if err != nil {
		return 0, m.failed("set memory", err)
	}
	return m.shape.Memory + more, nil
}

// unplug asks for a device's removal and waits until it is done.
func (m *Machine) unplug(ctx context.Context, device string) error {
	gone := m.awaitDeletion(device)
	if err := m.monitor.Do(ctx, "device_del", map[string]any{"id": device}, nil); err != nil {
		m.deleted(device)
		return err
	}
	select {
	case <-gone:
		return nil
	case <-m.done:
		return vmm.ErrEnded
	case <-ctx.Done():
		return fmt.Errorf("wait for the guest to let go of %s: %w", device, ctx.Err())
	}
}
