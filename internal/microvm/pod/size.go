package pod

import (
	"context"
	"fmt"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Annotations in which containerd's CRI gives the sums of a pod's limits to
// the pod's own container.
const (
	memoryAnnotation = "io.kubernetes.cri.sandbox-memory"
	quotaAnnotation  = "io.kubernetes.cri.sandbox-cpu-quota"
	periodAnnotation = "io.kubernetes.cri.sandbox-cpu-period"
)

const (
	// guestOverhead is what the guest's kernel and agent need beside the
	// containers, in bytes. The RuntimeClass's overhead covers it.
	guestOverhead = 64 << 20
	memoryStep    = 2 << 20
)

// Size is what a pod's machine has at the least. Zero is what it starts with.
type Size struct {
	Memory int64 // bytes that the containers together may use
	CPUs   int
}

// sizeOf follows the pod's limits. A pod without a memory limit has what every
// machine starts with.
func sizeOf(s *specs.Spec) Size {
	size := Size{Memory: number(s, memoryAnnotation)}
	if quota, period := number(s, quotaAnnotation), number(s, periodAnnotation); quota > 0 && period > 0 {
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

// Resize makes the machine at least so large, as far as the host is.
func (p *Pod) Resize(ctx context.Context, size Size) error {
	p.memory.Store(p.shape.Memory)
	if want := (size.Memory + guestOverhead + memoryStep - 1) / memoryStep * memoryStep; size.Memory > 0 && want > p.shape.Memory {
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
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return bootMemory
	}
	return max(int64(info.Totalram*uint64(info.Unit))/memoryStep*memoryStep, bootMemory)
}
