package qemu

import (
	"encoding/json"

	"redoubt.dev/redoubt/internal/microvm/vmm/qmp"
)

// reasons are what QEMU's SHUTDOWN event gives as reason, for people.
var reasons = map[string]string{
	"guest-shutdown":        "the guest powered off",
	"guest-reset":           "the guest's kernel panicked or restarted",
	"guest-panic":           "the guest's kernel panicked",
	"host-qmp-quit":         "ended by the runtime",
	"host-signal":           "ended by a signal",
	"host-error":            "qemu failed",
	"subsystem-reset":       "the guest restarted",
	"snapshot-load":         "qemu failed to load its state",
	"host-qmp-system-reset": "restarted by the runtime",
}

// event notes what QEMU reports.
func (m *Machine) event(e qmp.Event) {
	switch e.Name {
	case "SHUTDOWN":
		var data struct{ Reason string }
		if json.Unmarshal(e.Data, &data) == nil && reasons[data.Reason] != "" {
			m.mu.Lock()
			m.ended = reasons[data.Reason]
			m.mu.Unlock()
		}
	case "MIGRATION":
		m.noteMigration(e)
	case "DEVICE_DELETED":
		var data struct{ Device string }
		if json.Unmarshal(e.Data, &data) == nil {
			m.deleted(data.Device)
		}
	}
}

func (m *Machine) deleted(device string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if waiting := m.gone[device]; waiting != nil {
		close(waiting)
		delete(m.gone, device)
	}
}
