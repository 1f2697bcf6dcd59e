package vmm

import (
	"errors"
	"fmt"
	"os"
)

// Accelerator is what runs the guest's instructions.
type Accelerator string

// The accelerators.
const (
	// KVM runs them on the processor.
	KVM Accelerator = "kvm"
	// Emulation translates them. It isolates like a program, not like
	// hardware: QEMU's security policy does not cover it.
	Emulation Accelerator = "tcg"
)

// Shape is what a machine is made of, apart from what is added to it later.
type Shape struct {
	Accelerator Accelerator
	// CPUs is the number of processors. The guest starts with the first in use;
	// its agent switches others on (/sys/devices/system/cpu/cpuN/online). None
	// is plugged in later: under emulation a processor that comes when others
	// have filled the store of translated code ends QEMU 7.2.
	CPUs int
	// Memory is the guest's memory at start in bytes, a multiple of 2 MiB;
	// MaxMemory the most that SetMemory may ask for.
	Memory, MaxMemory int64
}

// The least memory that the guest's kernel and agent start in, and the most
// of anything that this package will ask of a hypervisor.
const (
	MinMemory = 96 << 20
	MaxCPUs   = 255
	maxMemory = 1 << 42
)

// Validate names the first field that cannot be.
func (s Shape) Validate() error {
	switch {
	case s.Accelerator != KVM && s.Accelerator != Emulation:
		return fmt.Errorf("accelerator %q: use kvm or tcg", s.Accelerator)
	case s.CPUs < 1 || s.CPUs > MaxCPUs:
		return fmt.Errorf("cpus %d: use 1 to %d", s.CPUs, MaxCPUs)
	case s.Memory < MinMemory || s.Memory%(2<<20) != 0:
		return fmt.Errorf("memory of %d bytes: use a multiple of 2 MiB, at least %d MiB", s.Memory, MinMemory>>20)
	case s.MaxMemory < s.Memory || s.MaxMemory > maxMemory:
		return fmt.Errorf("maximum memory of %d bytes: use %d to %d", s.MaxMemory, s.Memory, int64(maxMemory))
	}
	return nil
}

// Config is one machine to start.
type Config struct {
	Shape Shape
	// Tap is the host's end of the guest's network card: a tap device's file
	// with IFF_VNET_HDR. The caller may close it when the machine has started.
	Tap *os.File
	// Cgroup is the control group that the machine runs in, as a path below
	// every hierarchy's root ("/kubepods/pod1/sandbox"). It exists. Empty means
	// the caller's own.
	Cgroup string
	// UID and GID are what the machine's process runs as. They should belong
	// to this machine alone, and must not be root's.
	UID, GID uint32
}

// Validate names the first field that cannot be.
func (c Config) Validate() error {
	switch {
	case c.Tap == nil:
		return errors.New("tap: a machine needs a tap device")
	case c.UID == 0 || c.GID == 0:
		return errors.New("uid and gid: a machine never runs as root")
	}
	return c.Shape.Validate()
}
