package pod

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/cgroup"
	"redoubt.dev/redoubt/internal/microvm/network"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/proc"
	"redoubt.dev/redoubt/internal/wire"
)

// Spare is a machine that runs and is nobody's yet. Its agent has been through
// a rehearsal, a container's whole life, so that a pod's first container finds
// everything done once: memory mapped and, under emulation, code translated.
// It becomes one pod's machine, once, or ends.
type Spare struct {
	shape     vmm.Shape
	machine   vmm.Machine
	session   *wire.Session
	namespace *os.File // the network namespace that its card is in
}

// NewSpare makes one for pods whose configuration has the same shape.
func NewSpare(ctx context.Context, c Config) (_ *Spare, err error) {
	device, namespace, err := network.Spare()
	if err != nil {
		return nil, err
	}
	defer device.Close()
	s := &Spare{shape: c.Shape, namespace: namespace}
	defer func() {
		if err != nil {
			s.End()
		}
	}()
	from, err := c.Store.Open(ctx, c.Shape)
	if err != nil {
		return nil, err
	}
	if s.machine, err = from.Clone(ctx, vmm.Config{Tap: device, UID: c.UID, GID: c.UID}); err != nil {
		return nil, err
	}
	if s.session, err = wire.Host(s.machine.Channel()); err != nil {
		return nil, err
	}
	if err := s.rehearse(ctx, c.Rehearsal); err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	return s, nil
}

// Done is closed when the machine has ended.
func (s *Spare) Done() <-chan struct{} { return s.machine.Done() }

// End ends the machine.
func (s *Spare) End() {
	_ = s.namespace.Close()
	if s.machine != nil {
		s.machine.Kill()
	}
}

// Fits says whether the spare can become the pod's machine.
func (s *Spare) Fits(c Config) bool { return s.shape == c.Shape }

// Become makes the machine a pod's, as Start does with a copy. Where it fails,
// the machine has ended.
func (s *Spare) Become(ctx context.Context, c Config) (_ *Pod, err error) {
	defer func() {
		if err != nil {
			s.End()
		}
	}()
	link, err := network.Describe(c.NetNS)
	if err != nil {
		return nil, err
	}
	let, err := c.Cgroup.Create(ctx)
	if err != nil {
		return nil, err
	}
	p, err := newPod(ctx, s.machine, c)
	if err != nil {
		let()
		return nil, errors.Join(err, c.Cgroup.Remove(context.WithoutCancel(ctx)))
	}
	p.session = s.session
	if link.Name != "" {
		link.Hardware = rehearsedHardware
		c.Sandbox.Links = []wire.Link{link}
	}
	go p.configure(p.life, c, func() error {
		defer let()
		return s.join(p.life, p, c)
	})
	return p, nil
}

// join brings the machine to where its pod is: into its control group and its
// network. What the kernel needs for both is as long as what the guest needs
// meanwhile.
func (s *Spare) join(ctx context.Context, p *Pod, c Config) error {
	defer s.namespace.Close()
	adopted := make(chan error, 1)
	go func() { adopted <- network.Adopt(c.NetNS, s.namespace) }()
	return errors.Join(s.count(ctx, p, c.Cgroup), <-adopted)
}

// count has the machine counted with its pod. What it has used is counted where it
// was made.
func (s *Spare) count(ctx context.Context, p *Pod, group cgroup.Group) error {
	if err := group.Move(s.machine.PID()); err != nil {
		return err
	}
	used, err := proc.MemoryOf(s.machine.PID())
	if err != nil {
		return err
	}
	p.outside = used.Anonymous
	return group.Bound(ctx, p.outside)
}

// Urgent lets the machine's process run as others do: one that is made while
// nobody waits for it gives way to all.
func (s *Spare) Urgent() error { return unix.Setpriority(unix.PRIO_PGRP, s.machine.PID(), 0) }
