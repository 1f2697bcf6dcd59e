package node

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/microvm/kvm"
	"redoubt.dev/redoubt/internal/microvm/template"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
	"redoubt.dev/redoubt/internal/wire"
)

// microVM is the handler of Redoubt's own virtual machines.
const microVM = "microvm"

// machines is how virtual machines run on this node.
type machines struct {
	isolation   string // the label's value
	accelerator string // for people, on one line
}

// learnMachines finds out whether virtual machines run under KVM here, with
// the guest image in a folder, as the shim does: both keep the answer in the
// same place. It tries until it knows or ctx ends, and now and then where a
// machine hung.
func (r *role) learnMachines(ctx context.Context, image string) {
	// A try that hangs takes a processor for 15 seconds.
	const pause, pauseHung = 30 * time.Second, 30 * time.Minute
	ask := kvm.Probe
	for wait := pause; ; {
		answer, err := ask(ctx, template.Folder(), qemu.ImageIn(image), wire.AwaitGuest)
		if err == nil {
			m := machines{isolation: answer.Isolation(), accelerator: "KVM"}
			if !answer.Works {
				m.accelerator = "emulation: " + strings.Join(strings.Fields(answer.Reason), " ")
			}
			r.machines.Store(&m)
			r.queue.Add(r.name)
			if !answer.Hangs {
				return
			}
			ask, wait = kvm.Retry, pauseHung
		} else {
			slog.Error("try a virtual machine", "error", fmt.Errorf("kvm: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
