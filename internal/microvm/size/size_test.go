package size

import (
	"testing"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

func TestFor(t *testing.T) {
	node := Node{Memory: 24<<30 + 12345, CPUs: 8}
	for _, test := range []struct {
		name                     string
		pod                      Pod
		node                     Node
		cpus                     int
		first, memory, maxMemory int64 // MiB
	}{
		{"no limits", Pod{}, node, 2, 2048, 2048, 16384},
		{"no limits on a small node", Pod{}, Node{Memory: 1 << 30, CPUs: 1}, 1, 512, 512, 1024},
		{"tiny", Pod{Memory: 4 << 20}, node, 2, 96, 100, 768},
		{"small", Pod{Memory: 64 << 20}, node, 2, 128, 160, 1024},
		{"a power of two", Pod{Memory: (1024 - 96) << 20}, node, 2, 1024, 1024, 8192},
		{"just below one", Pod{Memory: (1024-96)<<20 - 1}, node, 2, 512, 1022, 4096},
		{"most of the node", Pod{Memory: 23 << 30}, node, 2, 16384, 23<<10 + 96, 24 << 10},
		{"more than the node", Pod{Memory: 64 << 30}, node, 2, 16384, 24 << 10, 24 << 10},
		{"half a processor", Pod{Memory: 64 << 20, Quota: 50000, Period: 100000}, node, 1, 128, 160, 1024},
		{"one and a bit", Pod{Memory: 64 << 20, Quota: 100001, Period: 100000}, node, 2, 128, 160, 1024},
		{"more than there are", Pod{Memory: 64 << 20, Quota: 100 * 100000, Period: 100000}, node, 8, 128, 160, 1024},
		{"no quota", Pod{Memory: 64 << 20, Quota: -1, Period: 100000}, node, 2, 128, 160, 1024},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := For(test.pod, test.node, vmm.Emulation)
			want := Plan{vmm.Shape{
				Accelerator: vmm.Emulation, CPUs: test.cpus, MaxCPUs: test.node.CPUs,
				Memory: test.first << 20, MaxMemory: test.maxMemory << 20,
			}, test.memory << 20}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if err := got.Shape.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWithinLimit tries the rule that keeps a machine from being killed by the
// host: what the guest and QEMU can use fits the pod's control group.
func TestWithinLimit(t *testing.T) {
	node := Node{Memory: 24 << 30, CPUs: 8}
	for limit := int64(1); limit < 16<<30; limit = limit*5/4 + 1 {
		plan := For(Pod{Memory: limit}, node, vmm.Emulation)
		if plan.Memory+hostShare > limit+Overhead {
			t.Errorf("limit %d: a guest of %d bytes and qemu do not fit", limit, plan.Memory)
		}
		if plan.Shape.Memory > plan.Memory || plan.Memory > plan.Shape.MaxMemory {
			t.Errorf("limit %d: %d is not between %d and %d", limit, plan.Memory, plan.Shape.Memory, plan.Shape.MaxMemory)
		}
	}
}

func TestResize(t *testing.T) {
	node := Node{Memory: 24 << 30, CPUs: 8}
	shape := For(Pod{Memory: 160 << 20}, node, vmm.Emulation).Shape // 256 MiB, at most 2 GiB
	for _, test := range []struct{ limit, want int64 }{
		{160 << 20, 256 << 20},
		{512 << 20, 608 << 20},
		{1 << 20, 256 << 20}, // not below the start
		{8 << 30, 2 << 30},   // not above the most
	} {
		if got := Memory(test.limit, shape, node); got != test.want {
			t.Errorf("limit %d: %d bytes, want %d", test.limit, got, test.want)
		}
	}
}
