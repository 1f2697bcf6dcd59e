package template

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/microvm/tap"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
)

// A boot that hangs is given up and tried again: on a busy host an emulated
// machine can lose its timer.
const (
	attempts         = 3
	defaultBootLimit = time.Minute
)

// The user that a template's machine runs as; no pod's does.
const user = 0x7ffe0000

// make boots a machine, saves it and moves the result to dir whole.
func (s Store) make(ctx context.Context, base qemu.Root, shape vmm.Shape, dir string) error {
	if err := os.MkdirAll(s.templates(), 0o700); err != nil {
		return err
	}
	var failures error
	for range attempts {
		err := s.try(ctx, base, shape, dir)
		if err == nil {
			return nil
		}
		failures = errors.Join(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return failures
}

// sweep removes templates, and what they were made from, whose kernel, agent or
// QEMU was replaced, those of base that were made in another boot than made
// names, and what an interrupted process left.
func (s Store) sweep(base qemu.Root, made string) error {
	keys, err := qemu.Sweep(s.roots())
	if err != nil {
		return fmt.Errorf("remove outdated templates: %w", err)
	}
	patterns := []string{".making-*"}
	for _, key := range keys {
		patterns = append(patterns, key+"-*")
	}
	for _, pattern := range append(patterns, base.Key+"-*") {
		old, _ := filepath.Glob(filepath.Join(s.templates(), pattern))
		for _, dir := range old {
			if strings.HasPrefix(filepath.Base(dir), made+"-") {
				continue
			}
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("remove outdated templates: %w", err)
			}
		}
	}
	return nil
}

func (s Store) try(ctx context.Context, base qemu.Root, shape vmm.Shape, dir string) (err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".making-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	root, err := base.Link(filepath.Join(tmp, "root"))
	if err != nil {
		return err
	}
	memory, err := root.CreateMemory()
	if err != nil {
		return err
	}
	defer memory.Close()
	state, err := os.OpenFile(filepath.Join(tmp, "state"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o400)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := s.bootAndSave(ctx, base, shape, state, memory); err != nil {
		return err
	}
	if err := qemu.Sync(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

func (s Store) bootAndSave(ctx context.Context, base qemu.Root, shape vmm.Shape, state, memory *os.File) error {
	limit := cmp.Or(s.BootLimit, defaultBootLimit)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The network card needs a tap to have the features that copies' cards
	// have. This one is connected to nothing.
	card, err := tap.Unconnected()
	if err != nil {
		return err
	}
	defer card.Close()
	m, err := qemu.StartPattern(ctx, base, vmm.Config{Shape: shape, Tap: card, UID: user, GID: user})
	if err != nil {
		return err
	}
	defer m.Kill()
	stop := context.AfterFunc(ctx, func() { _ = m.Channel().Close() })
	defer stop()
	if err := s.Await(m.Channel()); err != nil {
		return fmt.Errorf("%w: %w", bootFailure(ctx, m, limit), err)
	}
	return m.Save(ctx, state, memory)
}

// bootFailure says how far a guest came that did not get ready.
func bootFailure(ctx context.Context, m vmm.Machine, limit time.Duration) error {
	hung := ctx.Err() != nil
	m.Kill()
	said := "it printed nothing"
	if console := m.Exit().Console; console != "" {
		said = "it printed: " + console
	}
	if hung {
		return fmt.Errorf("the guest was not ready within %v; %s", limit, said)
	}
	return fmt.Errorf("the guest did not get ready: %s; %s", m.Exit().Reason, said)
}
