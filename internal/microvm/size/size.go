// Package size decides how large a pod's virtual machine is: a pure function
// of what the pod may use and what the node has.
//
// The rule that it keeps: the guest's memory, and what QEMU needs beside it,
// are never more than the pod's control group allows. A pod's group allows its
// containers' limits and the class's overhead; so the guest gets the limits
// and its share of the overhead, and QEMU has the rest. The guest's kernel then
// runs out of memory before the host's, and says in which container.
//
// Machines of equal shape are copies of one template, so shapes are few: the
// memory at start is a power of two, and the rest is plugged in.
package size

import (
	"math/bits"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// Overhead is the memory of a machine beside its containers', in bytes: what
// the RuntimeClass says as overhead.podFixed. It is the sum of two shares.
const (
	Overhead = guestShare + hostShare
	// guestShare is for the guest's kernel and agent.
	guestShare = 96 << 20
	// hostShare is for QEMU: 32 MiB of translated code, some 20 MiB of its own
	// data, and tables that describe the guest's memory.
	hostShare = 64 << 20
)

const (
	mebibyte = 1 << 20
	// defaultMemory is the guest's memory when the pod has no limit. A node
	// that has not twice as much gives half of what it has.
	defaultMemory = 2048 * mebibyte
	// granule is what memory is counted in.
	granule = 2 * mebibyte
	// growth is how many times its first memory a machine can grow to.
	growth = 8
)

// Pod is what a pod may use; 0 is no limit.
type Pod struct {
	// Memory is the sum of the containers' limits in bytes.
	Memory int64
	// Quota is the processor time, in microseconds, in each Period of as many
	// (the CFS scheduler's).
	Quota, Period int64
}

// Node is what there is.
type Node struct {
	Memory int64 // bytes
	CPUs   int
}

// Plan is a machine's size.
type Plan struct {
	// Shape is how it starts.
	Shape vmm.Shape
	// Memory is what it gets once it runs, at least Shape.Memory.
	Memory int64
}

// For is the machine for the pod.
func For(pod Pod, node Node, accelerator vmm.Accelerator) Plan {
	memory := guestMemory(pod, node)
	first := powerOfTwo(memory)
	cpus := processors(pod, node)
	return Plan{
		Shape: vmm.Shape{
			Accelerator: accelerator,
			CPUs:        cpus, MaxCPUs: node.CPUs,
			Memory: first, MaxMemory: max(memory, min(first*growth, node.Memory/granule*granule)),
		},
		Memory: memory,
	}
}

// Memory is how much memory the guest should have when the pod's limit becomes
// limit bytes (0 is none), for a machine of that shape: what it cannot have,
// it gets as near to as it can.
func Memory(limit int64, shape vmm.Shape, node Node) int64 {
	return min(max(guestMemory(Pod{Memory: limit}, node), shape.Memory), shape.MaxMemory)
}

func guestMemory(pod Pod, node Node) int64 {
	// A limit above what the node has limits nothing.
	memory := min(pod.Memory+guestShare, node.Memory)
	if pod.Memory == 0 {
		memory = min(defaultMemory, node.Memory/2)
	}
	return max(memory/granule*granule, vmm.MinMemory)
}

// powerOfTwo is the largest that is not above memory, or the least that a
// machine can start with.
func powerOfTwo(memory int64) int64 {
	return max(int64(1)<<(bits.Len64(uint64(memory))-1), vmm.MinMemory)
}

// processors is the quota rounded up, and never more than there are. Without a
// quota it is two: enough to run beside one's own kernel, and a machine with
// as many as the node would make each copy larger.
func processors(pod Pod, node Node) int {
	if pod.Quota <= 0 || pod.Period <= 0 {
		return min(2, node.CPUs)
	}
	return int(min((pod.Quota+pod.Period-1)/pod.Period, int64(node.CPUs)))
}
