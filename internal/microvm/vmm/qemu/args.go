package qemu

import (
	"fmt"

	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// The numbers of the files that a machine's process is handed.
const (
	fdMonitor = iota + 3
	fdAgent
	fdConsole
	fdTap
)

// kernelArguments end a guest whose kernel fails instead of leaving it behind,
// and keep the boot quiet: each character costs an exit from the guest.
const kernelArguments = "console=ttyS0 quiet panic=-1"

// arguments is QEMU's command line. It depends on nothing that a pod can say:
// the shape is numbers, and everything else is constant.
func arguments(shape vmm.Shape) []string {
	args := []string{program,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-L", firmwareDir,
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", fdMonitor),
		"-mon", "chardev=monitor,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fdConsole),
		"-serial", "chardev:console",
		"-smp", fmt.Sprintf("%d,maxcpus=%d", shape.CPUs, shape.MaxCPUs),
		"-m", fmt.Sprintf("%dM", shape.Memory>>20),
		"-kernel", kernelFile, "-initrd", initrdFile, "-append", kernelArguments,
	}
	args = append(args, machine(shape.Accelerator)...)
	return append(args, devices()...)
}

// machine is a q35 without what a server needs. QEMU's microvm machine finds
// its devices by ACPI too, and loses its timer under emulation there.
func machine(accelerator vmm.Accelerator) []string {
	const q35 = "q35,usb=off,vmport=off,smm=off,sata=off,smbus=off,graphics=off,i8042=off"
	if accelerator == vmm.KVM {
		return []string{"-machine", q35, "-accel", "kvm", "-cpu", "host"}
	}
	// 32 MiB of translated code hold a server's working set; by default QEMU
	// would take up to a quarter of the host.
	return []string{"-machine", q35, "-accel", "tcg,tb-size=32", "-cpu", "max"}
}

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
