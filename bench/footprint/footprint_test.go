package footprint

import (
	"testing"
	"time"
)

func TestReadsWhatTheKernelSays(t *testing.T) {
	rollup := []byte("5581a4d5d000-7ffd1f5f9000 ---p 00000000 00:00 0 [rollup]\nRss:                1024 kB\nPss:                 512 kB\n")
	if rss, pss := kilobytes(rollup, "Rss:"), kilobytes(rollup, "Pss:"); rss != 1<<20 || pss != 1<<19 {
		t.Errorf("resident %d, in parts %d", rss, pss)
	}
	stat := []byte("42 (a name) (with) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 100 200 300\n")
	if got := busy(stat); got != 2*time.Second {
		t.Errorf("busy %v, want 2s", got)
	}
}

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
