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

// slot is a processor that is there or could be.
type slot struct {
	Type  string         `json:"type"`
	Props map[string]any `json:"props"`
	Path  string         `json:"qom-path"` // empty: not there
}

// SetCPUs plugs the missing processors in, the lowest places first.
func (m *Machine) SetCPUs(ctx context.Context, count int) error {
	if count < 1 || count > m.shape.MaxCPUs {
		return fmt.Errorf("set processors: %d: use 1 to %d", count, m.shape.MaxCPUs)
	}
	var slots []slot // the highest first
	if err := m.monitor.Do(ctx, "query-hotpluggable-cpus", nil, &slots); err != nil {
		return m.failed("set processors", err)
	}
	if len(slots) < count {
		return fmt.Errorf("set processors: qemu has %d places for %d", len(slots), count)
	}
	for number := range count {
		s := slots[len(slots)-1-number]
		if s.Path != "" {
			continue
		}
		if err := m.addCPU(ctx, number, s); err != nil {
			return m.failed("set processors", err)
		}
	}
	return nil
}

func (m *Machine) addCPU(ctx context.Context, number int, s slot) error {
	arguments := map[string]any{"driver": s.Type, "id": fmt.Sprintf("cpu%d", number)}
	for name, value := range s.Props {
		arguments[name] = value
	}
	return m.monitor.Do(ctx, "device_add", arguments, nil)
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
