// Package kvm finds out whether virtual machines really run under KVM here.
//
// The device file proves nothing: on some nested hosts a kernel starts under
// KVM and then hangs at full speed. So the guest image is booted once, with a
// time limit, and the answer is kept until the host, its kernel, QEMU or the
// image change.
package kvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/microvm/filelock"
	"redoubt.dev/redoubt/internal/microvm/tap"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
)

// device is what a program opens to use KVM.
const device = "/dev/kvm"

// bootLimit is many times what a boot under KVM takes, on a busy host too.
const bootLimit = 15 * time.Second

// user is what the trial machine runs as; no pod's does.
const user = 0x7ffe0001

// Answer is whether KVM works and, if it does not, why.
type Answer struct {
	Works  bool   `json:"works"`
	Reason string `json:"reason,omitempty"`
}

// Accelerator is what machines should use.
func (a Answer) Accelerator() vmm.Accelerator {
	if a.Works {
		return vmm.KVM
	}
	return vmm.Emulation
}

// Isolation is the value of the label redoubt.dev/isolation that machines here
// deserve.
func (a Answer) Isolation() string {
	if a.Works {
		return "vm"
	}
	return "vm-emulated"
}

// Probe tries KVM with the image, or remembers the answer in dir, which is for
// root alone. await returns when the agent at the channel's other end is
// ready. An error says that nothing could be tried.
func Probe(ctx context.Context, dir string, image qemu.Image, await func(io.Reader) error) (Answer, error) {
	if _, err := os.Stat(device); err != nil {
		return Answer{Reason: "there is no " + device}, nil
	}
	root, err := qemu.Prepare(ctx, filepath.Join(dir, "roots"), image)
	if err != nil {
		return Answer{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Answer{}, fmt.Errorf("tell one boot of the host from another: %w", err)
	}
	file := filepath.Join(dir, fmt.Sprintf("kvm-%s-%s", root.Key, strings.TrimSpace(string(boot))))
	unlock, err := filelock.Lock(ctx, filepath.Join(dir, "kvm.lock"))
	if err != nil {
		return Answer{}, err
	}
	defer unlock()
	if answer, ok := recall(file); ok {
		return answer, nil
	}
	answer, err := try(ctx, root, await)
	if err != nil {
		return Answer{}, err
	}
	return answer, remember(file, answer)
}

func try(ctx context.Context, root qemu.Root, await func(io.Reader) error) (Answer, error) {
	card, err := tap.Unconnected()
	if err != nil {
		return Answer{}, err
	}
	defer card.Close()
	limited, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	m, err := qemu.Start(limited, root, vmm.Config{
		Shape: vmm.Shape{Accelerator: vmm.KVM, CPUs: 1, Memory: 128 << 20, MaxMemory: 128 << 20},
		Tap:   card, UID: user, GID: user,
	})
	if err != nil {
		return Answer{Reason: err.Error()}, ctx.Err()
	}
	defer m.Kill()
	stop := context.AfterFunc(limited, func() { _ = m.Channel().Close() })
	defer stop()
	err = await(m.Channel())
	switch {
	case ctx.Err() != nil:
		return Answer{}, fmt.Errorf("try kvm: %w", ctx.Err())
	case limited.Err() != nil:
		return Answer{Reason: fmt.Sprintf("a virtual machine hangs under kvm: it did not boot within %v", bootLimit)}, nil
	case err != nil:
		m.Kill()
		return Answer{Reason: "a virtual machine does not boot under kvm: " + m.Exit().Reason}, nil
	}
	return Answer{Works: true}, nil
}

func recall(file string) (answer Answer, ok bool) {
	data, err := os.ReadFile(file)
	return answer, err == nil && json.Unmarshal(data, &answer) == nil
}

// remember replaces older answers with this one.
func remember(file string, answer Answer) error {
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "kvm-*"))
	for _, path := range old {
		_ = os.Remove(path)
	}
	data, err := json.Marshal(answer)
	if err == nil {
		err = errors.Join(os.WriteFile(file+".new", data, 0o600), os.Rename(file+".new", file))
	}
	if err != nil {
		return fmt.Errorf("remember whether kvm works: %w", err)
	}
	return nil
}
