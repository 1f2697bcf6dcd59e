package qemu

import "context"

// Pause stops the processors and the devices.
func (m *Machine) Pause(ctx context.Context) error { return m.command(ctx, "pause", "stop") }

// Resume lets them go on.
func (m *Machine) Resume(ctx context.Context) error { return m.command(ctx, "resume", "cont") }

func (m *Machine) command(ctx context.Context, step, command string) error {
	if err := m.monitor.Do(ctx, command, nil, nil); err != nil {
		return m.failed(step, err)
	}
	return nil
}
