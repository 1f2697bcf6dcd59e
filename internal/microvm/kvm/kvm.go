// Package kvm finds out whether virtual machines really run under KVM here.
//
// The device file proves nothing: on some nested hosts a kernel starts under
// KVM and then hangs at full speed. So the guest image is booted once, with a
// time limit, and the answer is kept until the host, its kernel, QEMU or the
// image change.
package kvm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"redoubt.dev/redoubt/internal/microvm/filelock"
	"redoubt.dev/redoubt/internal/microvm/tap"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
)

// device is what a program opens to use KVM.
const device = "/dev/kvm"

// bootLimit is many times what a boot under KVM takes, on a busy host too;
// emulationLimit the same for one without.
const bootLimit, emulationLimit = 15 * time.Second, time.Minute

// user is what the trial machine runs as; no pod's does.
const user = 0x7ffe0001

// Answer is whether KVM works and, if it does not, why.
type Answer struct {
	Works  bool   `json:"works"`
	Reason string `json:"reason,omitempty"`
	// Hangs says that a machine did not boot in time, which a host that was too
	// busy looks like, too: Retry may find another answer.
	Hangs bool `json:"hangs,omitempty"`
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

// absent is the answer where there is nothing to try.
var absent = Answer{Reason: "there is no " + device}

func present() bool {
	_, err := os.Stat(device)
	return err == nil
}

// Probe tries KVM with the image, or remembers the answer in dir, which is for
// root alone. await returns when the agent at the channel's other end is
// ready. An error says that nothing could be tried.
func Probe(ctx context.Context, dir string, image qemu.Image, await func(io.Reader) error) (Answer, error) {
	return learn(ctx, dir, image, await, recall)
}

// Retry is Probe that remembers nothing. Until it has an answer, the earlier one
// stands.
func Retry(ctx context.Context, dir string, image qemu.Image, await func(io.Reader) error) (Answer, error) {
	return learn(ctx, dir, image, await, func(string) (Answer, bool) { return Answer{}, false })
}

func learn(ctx context.Context, dir string, image qemu.Image, await func(io.Reader) error, recall func(file string) (Answer, bool)) (Answer, error) {
	if !present() {
		return absent, nil
	}
	root, err := qemu.Prepare(ctx, filepath.Join(dir, "roots"), image)
	if err != nil {
		return Answer{}, err
	}
	boot, err := vmm.Boot()
	if err != nil {
		return Answer{}, err
	}
	file := filepath.Join(dir, fmt.Sprintf("kvm-%s-%s", root.Key, boot))
	if answer, ok := recall(file); ok {
		return answer, nil
	}
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

// Examine boots the image now, whatever an earlier answer was: under KVM or,
// where that does not work, emulated. An error says why it boots in neither
// way. What it makes in dir is the caller's to remove.
func Examine(ctx context.Context, dir string, image qemu.Image, await func(io.Reader) error) (Answer, error) {
	root, err := qemu.Prepare(ctx, filepath.Join(dir, "roots"), image)
	if err != nil {
		return Answer{}, err
	}
	answer := absent
	if present() {
		if answer, err = try(ctx, root, await); err != nil || answer.Works {
			return answer, err
		}
	}
	return answer, boot(ctx, root, vmm.Emulation, emulationLimit, await)
}

func try(ctx context.Context, root qemu.Root, await func(io.Reader) error) (Answer, error) {
	err := boot(ctx, root, vmm.KVM, bootLimit, await)
	var unable unableError
	switch {
	case err == nil:
		return Answer{Works: true}, nil
	case errors.As(err, &unable):
		return Answer{Reason: err.Error(), Hangs: unable.hangs}, nil
	}
	return Answer{}, fmt.Errorf("try kvm: %w", err)
}

// unableError is what came of a boot that was tried and failed.
type unableError struct {
	reason string
	hangs  bool
}

func (e unableError) Error() string { return e.reason }

// boot boots the image once and ends the machine.
func boot(ctx context.Context, root qemu.Root, accelerator vmm.Accelerator, limit time.Duration, await func(io.Reader) error) error {
	card, err := tap.Unconnected()
	if err != nil {
		return err
	}
	defer card.Close()
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := qemu.Start(limited, root, vmm.Config{
		Shape: vmm.Shape{Accelerator: accelerator, CPUs: 1, Memory: 128 << 20, MaxMemory: 128 << 20},
		Tap:   card, UID: user, GID: user,
	})
	if err != nil {
		return cmp.Or(ctx.Err(), error(unableError{reason: err.Error()}))
	}
	defer m.Kill()
	stop := context.AfterFunc(limited, func() { _ = m.Channel().Close() })
	defer stop()
	err = await(m.Channel())
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return unableError{fmt.Sprintf("a virtual machine hangs under %s: it did not boot within %v", accelerator, limit), true}
	case err != nil:
		m.Kill()
		return unableError{reason: fmt.Sprintf("a virtual machine does not boot under %s: %s", accelerator, m.Exit().Reason)}
	}
	return nil
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
