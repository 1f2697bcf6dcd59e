package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"redoubt.dev/redoubt/internal/microvm/kvm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
	"redoubt.dev/redoubt/internal/wire"
)

// guestFiles are what the class microvm needs beside the program: its shim,
// and in the folder guest what a machine boots.
var guestFiles = []string{"containerd-shim-redoubt-v2", "guest/vmlinuz", "guest/initramfs", "guest/memory.so"}

// Machines is what is known of virtual machines here.
type Machines struct {
	// Dir is where the guest image should be, Missing what it lacks.
	Dir     string
	Missing []string
	// Tried says that one was booted; Boots is why it did not boot.
	Tried bool
	Boots error
	// KVM is whether it did under KVM, and if not, why.
	KVM kvm.Answer
}

var machineryChecks = []check{
	{"guest image", func(h Host) Finding {
		if len(h.Machines.Missing) > 0 {
			return warning("build it with: make build guest", "%s has no %s; without it there is no class microvm", h.Machines.Dir, strings.Join(h.Machines.Missing, ", "))
		}
		return passed("in %s", h.Machines.Dir)
	}},
	{"accelerator", accelerator},
}

func accelerator(h Host) Finding {
	m := h.Machines
	switch {
	case !m.Tried && h.User != 0:
		return warning("run it again as root: sudo redoubt doctor", "cannot be tried as an ordinary user")
	case !m.Tried:
		return warning("install what is missing, above and under Programs", "no virtual machine can be tried")
	case m.Boots != nil:
		return warning("see that qemu-system-x86_64 is Debian's or Ubuntu's own, and that memory is free", "a virtual machine does not boot: %v", m.Boots)
	case m.KVM.Works:
		return passed("a virtual machine boots under KVM: the class microvm isolates as %q", m.KVM.Isolation())
	}
	return warning("use a machine with hardware virtualisation (or turn on nested virtualisation), and load the module: modprobe -a kvm_intel kvm_amd",
		"a virtual machine boots under QEMU's emulation, because %s: it is slower, and the class microvm isolates as %q only", m.KVM.Reason, m.KVM.Isolation())
}

// lookAtMachines boots one, as the shim would, in a folder of its own.
func (h *Host) lookAtMachines(ctx context.Context, dir string) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	h.Machines.Dir = filepath.Dir(self)
	for _, file := range guestFiles {
		if _, statErr := os.Stat(filepath.Join(h.Machines.Dir, file)); err != nil || statErr != nil {
			h.Machines.Missing = append(h.Machines.Missing, file)
		}
	}
	if len(h.Machines.Missing) > 0 || h.User != 0 || !h.Programs["qemu-system-x86_64"] {
		return
	}
	h.Machines.Tried = true
	h.Machines.KVM, h.Machines.Boots = tryMachine(ctx, dir, filepath.Join(h.Machines.Dir, "guest"))
}

func tryMachine(ctx context.Context, dir, image string) (answer kvm.Answer, err error) {
	tmp, err := os.MkdirTemp(dir, ".redoubt-doctor-")
	if err != nil {
		return answer, fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	return kvm.Examine(ctx, tmp, qemu.ImageIn(image), wire.AwaitGuest)
}
