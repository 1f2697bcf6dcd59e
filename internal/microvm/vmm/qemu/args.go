package qemu

import (
	"fmt"
	"strconv"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// The numbers of the files that a machine's process is handed.
const (
	fdMonitor = iota + 3
	fdAgent
	fdConsole
	fdTap
)

// How a machine comes to its memory and its first state.
type origin int

const (
	// booted from the kernel, with memory of its own.
	booted origin = iota
	// pattern boots too, with memory that Save can find and copy.
	pattern
	// copied goes on where a saved machine stopped.
	copied
)

// kernelArguments: a guest whose kernel fails ends instead of staying behind,
// and the boot is quiet, for each character costs an exit from the guest.
// Memory that is added is used without anybody's doing, up to three times the
// first for what can be moved, so that it can be taken back. Without noforce,
// the prospect of memory above 4 GiB takes 64 MiB at once, for devices that
// cannot reach it; there are none. Processors but the first wait until the
// agent switches them on: what a pod does not ask for costs it nothing. What
// changes namespaces, mounts and network cards waits until no processor uses the
// former state (RCU), by default for ticks of the clock, several times for each
// container: asking the few processors instead takes no time.
const kernelArguments = "console=ttyS0 quiet panic=-1 swiotlb=noforce maxcpus=1 " +
	"rcupdate.rcu_expedited=1 memhp_default_state=online memory_hotplug.online_policy=auto-movable"

// emulatedArguments: QEMU emulates a time stamp counter that goes on evenly on
// all processors, but no sign of that which the kernel would trust. Without it
// each look at the clock is a device's register, and the device's counter turns
// over in 43 s: a machine that stood still for longer lost that time. And an
// emulated processor speculates about nothing: what the kernel does against
// that only takes time.
const emulatedArguments = " tsc=reliable mitigations=off"

// Pattern is the command line of a machine that templates are made of: what is
// saved depends on it.
func Pattern(shape vmm.Shape) []string { return arguments(shape, pattern) }

// arguments is QEMU's command line. It depends on nothing that a pod can say:
// the shape is numbers, and everything else is constant.
func arguments(shape vmm.Shape, from origin) []string {
	args := []string{program,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-L", firmwareDir,
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", fdMonitor),
		"-mon", "chardev=monitor,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fdConsole),
		"-serial", "chardev:console",
		"-smp", strconv.Itoa(shape.CPUs),
	}
	args = append(args, processor(shape.Accelerator)...)
	args = append(args, memory(shape, from)...)
	args = append(args, devices()...)
	if from == copied {
		// The kernel is in the memory already.
		return append(args, "-incoming", "defer")
	}
	kernel := kernelArguments
	if shape.Accelerator != vmm.KVM {
		kernel += emulatedArguments
	}
	return append(args, "-kernel", kernelFile, "-initrd", initrdFile, "-append", kernel)
}

func processor(accelerator vmm.Accelerator) []string {
	if accelerator == vmm.KVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	// When the store of translated code is full, QEMU begins anew, with all of
	// it. 64 MiB hold what a pod's start and its server need; by default QEMU
	// would take up to a quarter of the host.
	// The emulator copies a string of bytes one by one. A processor that does not
	// promise to be fast at that (ERMS) has kernels and libraries copy words.
	return []string{"-accel", "tcg,tb-size=64", "-cpu", "max,erms=off,fsrm=off"}
}

// memory is the machine, a q35 without what a server needs, and its memory: a
// fixed part, and a device through which more comes and goes (virtio-mem).
func memory(shape vmm.Shape, from origin) []string {
	backend := map[origin]string{
		booted:  "memory-backend-ram,id=ram",
		pattern: "memory-backend-memfd,id=ram,share=on",
		copied:  "memory-backend-file,id=ram,share=off,mem-path=" + memoryFile,
	}[from]
	args := []string{
		"-object", fmt.Sprintf("%s,size=%d", backend, shape.Memory),
		"-machine", "q35,memory-backend=ram,usb=off,vmport=off,smm=off,sata=off,smbus=off,graphics=off,i8042=off",
		"-m", fmt.Sprintf("size=%dM,maxmem=%dM", shape.Memory>>20, shape.MaxMemory>>20),
	}
	more := shape.MaxMemory - shape.Memory
	if more == 0 {
		return args
	}
	return append(args,
		"-object", fmt.Sprintf("memory-backend-ram,id=more,reserve=off,size=%d", more),
		"-device", "virtio-mem-pci,id="+memoryDevice+",memdev=more,requested-size=0")
}

// devices are there from the start, the controllers with nothing behind them:
// the guest has found them before it is copied.
func devices() []string {
	return []string{
		"-device", "virtio-serial-pci,disable-legacy=on,max_ports=2",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d", fdAgent),
		"-device", "virtserialport,chardev=agent,nr=1,name=" + vmm.AgentPort,
		"-device", "virtio-scsi-pci,disable-legacy=on,id=scsi,num_queues=1",
		"-netdev", fmt.Sprintf("tap,id=net,fd=%d", fdTap),
		"-device", "virtio-net-pci,disable-legacy=on,netdev=net,romfile=,mac=" + vmm.MAC,
		"-object", "rng-builtin,id=entropy",
		"-device", "virtio-rng-pci,disable-legacy=on,rng=entropy",
	}
}

// kvmDevice is what QEMU opens to use KVM. Every root has its folder.
const kvmDevice = "/dev/kvm"

func deviceFiles(accelerator vmm.Accelerator) []string {
	if accelerator == vmm.KVM {
		return []string{kvmDevice}
	}
	return nil
}
