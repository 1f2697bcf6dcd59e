package pod

import (
	"context"
	"fmt"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/spec"
	"redoubt.dev/redoubt/internal/wire"
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

// Size is what a pod's containers together may use. Zero is no limit: the machine
// has what it starts with at most.
type Size struct {
	Memory int64 // bytes
	CPU    int64 // thousandths of a processor
}

// SizeOf is what one container may use.
func SizeOf(l wire.Limits) Size {
	s := Size{Memory: int64(l.Memory)}
	if l.Period > 0 {
		s.CPU = thousandths(int64(l.Quota), int64(l.Period))
	}
	return s
}

// Changed is the pod's size once one of its containers' is another. What has no
// limit before or after changes nothing.
func (s Size) Changed(from, to Size) Size {
	return Size{Memory: changed(s.Memory, from.Memory, to.Memory), CPU: changed(s.CPU, from.CPU, to.CPU)}
}

func changed(sum, from, to int64) int64 {
	if sum == 0 || from == 0 || to == 0 {
		return sum
	}
	return max(sum-from+to, to)
}

// processors are the machine's, of which each pod has one at least.
func (s Size) processors() uint32 { return uint32(max((s.CPU+999)/1000, 1)) }

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
		size.CPU = thousandths(quota, period)
	}
	return size
}

// thousandths of a processor, rounded up.
func thousandths(quota, period int64) int64 { return (quota*1000 + period - 1) / period }

func number(s *specs.Spec, annotation string) int64 {
	n, err := strconv.ParseInt(s.Annotations[annotation], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// bound lets the machine use what the kubelet has given the pod by now. When it
// gives less, it waits until that is enough, and so is the bound above this one.
func (p *Pod) bound(ctx context.Context) error {
	if p.outside == 0 {
		return nil
	}
	return p.cgroup.Bound(ctx, p.outside)
}

// setMemory makes the machine so large, as far as the host is, and never smaller
// than it started.
func (p *Pod) setMemory(ctx context.Context, size Size) error {
	want := min(max(size.machine(), p.shape.Memory), p.shape.MaxMemory)
	if size.Memory == 0 || want == p.memory.Load() {
		return nil
	}
	got, err := p.machine.SetMemory(ctx, want)
	if err != nil {
		return fmt.Errorf("give the virtual machine %d MiB of memory: %w", want>>20, err)
	}
	p.memory.Store(got)
	return nil
}

// Resize lets one of the pod's containers use another part of the machine, and
// the machine be as large as all need. apply sets the container's own limits:
// room comes before what uses it, and goes after it. Memory in use stays where it
// is until the guest can let go of it.
func (p *Pod) Resize(ctx context.Context, from, to Size, apply func() error) error {
	session, err := p.Session(ctx)
	if err != nil {
		return err
	}
	p.sizing.Lock()
	defer p.sizing.Unlock()
	size := p.size.Changed(from, to)
	bound := func() error { return p.bound(ctx) }
	room := func() error { return p.setMemory(ctx, size) }
	steps := []func() error{bound, room, apply}
	if size.Memory < p.size.Memory {
		steps = []func() error{apply, room}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if count := min(size.processors(), uint32(p.shape.CPUs)); size.CPU != p.size.CPU {
		if err := session.Call(ctx, wire.UseCPUs, &wire.Processors{Count: count}, &wire.Empty{}); err != nil {
			return err
		}
	}
	p.size = size
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
