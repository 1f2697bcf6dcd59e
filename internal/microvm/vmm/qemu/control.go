package qemu

import "context"

// Pause stops the processors and the devices.
func (m *instance) Pause(ctx context.Context) error { return m.command(ctx, "pause", "stop") }

// Resume lets them go on.
func (m *instance) Resume(ctx context.Context) error { return m.command(ctx, "resume", "cont") }

func (m *instance) command(ctx context.Context, step, command string) error {
	if err := m.monitor.Do(ctx, command, nil, nil); err != nil {
		return m.failed(step, err)
	}
	return nil
}
