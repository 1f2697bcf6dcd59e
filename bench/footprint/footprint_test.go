package footprint

import (
	"testing"
	"time"
)

func TestGroupsAddUp(t *testing.T) {
	before := []process{{name: "node", busy: time.Second}, {name: "gateway"}}
	after := []process{{name: "node", resident: 30e6, busy: 2 * time.Second}, {name: "gateway", resident: 40e6}, {name: "etcd", resident: 50e6}}
	got := map[string]float64{}
	for _, r := range sumUp(before, after, 100*time.Second) {
		got[r.Subject+", "+r.Metric] = r.P50
	}
	for name, want := range map[string]float64{
		"Redoubt's roles, resident":            70,
		"Redoubt's roles, processor when idle": 1,
		"control plane, resident":              50,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
}
