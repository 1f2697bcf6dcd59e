package pod

import (
	"context"
	"fmt"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/spec"
)

const (
	// guestOverhead is what the guest's kernel and agent need beside the
	// containers, in bytes. The RuntimeClass's overhead covers it.
	guestOverhead = 64 << 20
	memoryStep    = 2 << 20
)

// bootMemories are what machines start with, in bytes: each is one template,
// and what is not used of it costs nothing, for all its machines share it.
var bootMemories = []int64{128 << 20, 256 << 20, 512 << 20}

// Size is what a pod's machine has. Zero is what it starts with at most.
type Size struct {
	Memory int64 // bytes that the containers together may use
	CPUs   int
}

// machine is the memory of the pod's machine, in bytes: the containers' and the
// guest's own. It is no more, or the guest would fill it in time with what it
// has read, and the host end the pod for going over its limit.
func (s Size) machine() int64 {
	return max((s.Memory+guestOverhead)/memoryStep*memoryStep, bootMemories[0])
}

// boot is the part of it that the machine starts with.
func (s Size) boot() int64 {
	boot := bootMemories[0]
	for _, m := range bootMemories {
		if s.Memory == 0 || m <= s.machine() {
			boot = m
		}
	}
	return boot
}

// sizeOf follows the pod's limits.
func sizeOf(s *specs.Spec) Size {
	size := Size{Memory: number(s, spec.MemoryAnnotation)}
	if quota, period := number(s, spec.QuotaAnnotation), number(s, spec.PeriodAnnotation); quota > 0 && period > 0 {
		size.CPUs = int((quota + period - 1) / period)
	}
	return size
}

func number(s *specs.Spec, annotation string) int64 {
	n, err := strconv.ParseInt(s.Annotations[annotation], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Resize makes the machine so large, as far as the host is.
func (p *Pod) Resize(ctx context.Context, size Size) error {
	p.memory.Store(p.shape.Memory)
	if want := size.machine(); want > p.shape.Memory {
		got, err := p.machine.SetMemory(ctx, min(want, p.shape.MaxMemory))
		if err != nil {
			return fmt.Errorf("give the virtual machine %d MiB of memory: %w", want>>20, err)
		}
		p.memory.Store(got)
	}
	return nil
}

// maxMemory is the host's, in bytes: more than that is no use.
func maxMemory() int64 {
	largest := bootMemories[len(bootMemories)-1]
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return largest
	}
	return max(int64(info.Totalram*uint64(info.Unit))/memoryStep*memoryStep, largest)
}
