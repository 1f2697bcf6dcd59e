package task

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"redoubt.dev/redoubt/internal/microvm/layers"
	"redoubt.dev/redoubt/internal/microvm/pod"
	"redoubt.dev/redoubt/internal/microvm/spare"
	"redoubt.dev/redoubt/internal/microvm/spec"
	"redoubt.dev/redoubt/internal/microvm/stdio"
	"redoubt.dev/redoubt/internal/wire"
)

// Annotations that containerd's CRI gives a pod's containers.
const (
	typeAnnotation = "io.kubernetes.cri.container-type"
	sandboxType    = "sandbox"
)

// Create makes a container: of the pod's own the machine, of others their
// place in the guest.
//
// What a microVM cannot give is an invalid argument here. "Not implemented"
// would make containerd take the shim for an older one, try the task API of
// version 2, and report only that there is none.
func (s *Service) Create(ctx context.Context, r *api.CreateTaskRequest) (*api.CreateTaskResponse, error) {
	if err := s.create(ctx, r); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	pid := s.pid()
	s.events.send(&eventstypes.TaskCreate{
		ContainerID: r.ID, Bundle: r.Bundle, Rootfs: r.Rootfs, Pid: pid,
		IO: &eventstypes.TaskIO{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal},
	})
	return &api.CreateTaskResponse{Pid: pid}, nil
}

func (s *Service) create(ctx context.Context, r *api.CreateTaskRequest) (err error) {
	if r.Checkpoint != "" {
		return fmt.Errorf("%w: restore of a container in a microVM", errdefs.ErrInvalidArgument)
	}
	c := &container{id: r.ID, bundle: r.Bundle, execs: map[string]*process{}}
	if err := s.reserve(c); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.forget(c.id)
		}
	}()
	if c.spec, err = spec.Read(r.Bundle); err != nil {
		return err
	}
	c.machine = c.spec.Annotations[typeAnnotation] == sandboxType
	machine, err := s.ensurePod(ctx, c)
	if err != nil {
		return err
	}
	p := newProcess(wire.Ref{ID: c.id}, stdio.Paths{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal}, c.spec.Process)
	if !c.machine {
		if err := rememberShim(r.Bundle); err != nil {
			return err
		}
		if err := s.createInGuest(ctx, machine, c, p, r); err != nil {
			return err
		}
	}
	s.know(c, p, machine)
	return nil
}

// know makes a container known by its first process. A pod's own has ended where
// its machine has, before awaitMachine could find it.
func (s *Service) know(c *container, p *process, machine *pod.Pod) {
	s.mu.Lock()
	c.init = p
	s.mu.Unlock()
	if !c.machine {
		return
	}
	select {
	case <-machine.Done():
		s.exited(c, p, exit{status: killed, at: machine.Exit().At})
	default:
	}
}

// rememberShim notes where the shim's program is. containerd does so only for
// the container that it starts a shim for, and after a restart it gives up the
// others unless the program is in its PATH.
func rememberShim(bundle string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the shim's own program: %w", err)
	}
	note := filepath.Join(bundle, "shim-binary-path")
	if _, err := os.Stat(note); err == nil {
		return nil
	}
	if err := os.WriteFile(note, []byte(self), 0o600); err != nil {
		return fmt.Errorf("note the shim's program in the bundle: %w", err)
	}
	return nil
}

// reserve takes the container's name.
func (s *Service) reserve(c *container) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exists := s.containers[c.id]; exists {
		return fmt.Errorf("%w: container %s", errdefs.ErrAlreadyExists, c.id)
	}
	s.containers[c.id] = c
	return nil
}

func (s *Service) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, id)
}

// ensurePod returns the pod's machine, started for its first container.
func (s *Service) ensurePod(ctx context.Context, c *container) (*pod.Pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pod != nil {
		return s.pod, nil
	}
	config, err := pod.ConfigOf(ctx, c.id, c.spec)
	if err != nil {
		return nil, err
	}
	config.OnEvent = s.onGuestEvent
	machine, err := s.newMachine(ctx, config)
	if err != nil {
		return nil, err
	}
	s.pod = machine
	go s.awaitMachine(machine)
	go s.nextSpare(config.Shape.Memory)
	return machine, nil
}

// spareDelay is how long a pod's first container has the host to itself at most:
// the next pod's machine is made when it runs.
const spareDelay = 2 * time.Second

// nextSpare starts the machine of the next pod, with so much memory, in bytes.
func (s *Service) nextSpare(memory int64) {
	select {
	case <-s.running:
	case <-time.After(spareDelay):
	}
	spare.Next(spare.Place{Containerd: s.spares.Containerd, Memory: memory})
}

// newMachine takes the spare one if it fits.
func (s *Service) newMachine(ctx context.Context, config pod.Config) (*pod.Pod, error) {
	ready := s.spares.Ready
	s.spares.Ready = nil
	if ready != nil && !ready.Fits(config) {
		ready.End()
		ready = nil
	}
	if ready != nil {
		machine, err := ready.Become(ctx, config)
		if err == nil {
			return machine, nil
		}
		log.G(ctx).WithError(err).Warn("the spare virtual machine cannot be used")
	}
	return pod.Start(ctx, config)
}

func (s *Service) createInGuest(ctx context.Context, machine *pod.Pod, c *container, p *process, r *api.CreateTaskRequest) error {
	files, err := layers.Of(r.Rootfs)
	if err != nil {
		return err
	}
	if s.files != "" {
		spec.MountPodFiles(c.spec, s.files)
	}
	out, host, err := spec.Container(c.id, c.spec, streams(p.paths))
	if err != nil {
		return err
	}
	users, err := spec.Users(c.spec)
	if err != nil {
		return err
	}
	if err := machine.Check(users); err != nil {
		return err
	}
	// Disks need no agent: they are plugged in while the guest is still told who
	// it is. Where that fails the machine has ended, and why comes first.
	var plugged error
	out.Root.Layers, plugged = machine.Layers(ctx, files)
	session, err := machine.Session(ctx)
	if err = cmp.Or(err, plugged); err != nil {
		return err
	}
	out.Root.Size = machine.Writable()
	if err := machine.Devices(ctx, out.Devices); err != nil {
		return err
	}
	if c.back, err = machine.Mount(ctx, out.Mounts, host); err != nil {
		return err
	}
	if err := session.Call(ctx, wire.Create, out, &wire.Empty{}); err != nil {
		return err
	}
	copier, err := stdio.Attach(s.context, session, &p.ref, p.paths)
	if err != nil {
		return err
	}
	p.attach(copier)
	c.limit(out.Limits)
	return nil
}

func streams(p stdio.Paths) spec.Streams {
	return spec.Streams{Stdin: p.Stdin != "", Stdout: p.Stdout != "", Stderr: p.Stderr != "", Terminal: p.Terminal}
}
