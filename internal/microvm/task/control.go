package task

import (
	"context"
	"fmt"
	"os"

	eventstypes "github.com/containerd/containerd/api/events"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	tasks "github.com/containerd/containerd/api/types/task"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/microvm/pod"
	"redoubt.dev/redoubt/internal/microvm/spec"
	"redoubt.dev/redoubt/internal/wire"
)

// Pause stops a container's processes, of the pod's own the whole machine.
func (s *Service) Pause(ctx context.Context, r *api.PauseRequest) (*ptypes.Empty, error) {
	if err := s.freeze(ctx, r.ID, true); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.events.send(&eventstypes.TaskPaused{ContainerID: r.ID})
	return &ptypes.Empty{}, nil
}

// Resume lets them go on.
func (s *Service) Resume(ctx context.Context, r *api.ResumeRequest) (*ptypes.Empty, error) {
	if err := s.freeze(ctx, r.ID, false); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.events.send(&eventstypes.TaskResumed{ContainerID: r.ID})
	return &ptypes.Empty{}, nil
}

func (s *Service) freeze(ctx context.Context, id string, frozen bool) error {
	c, err := s.find(id)
	if err != nil {
		return err
	}
	status, method, next, machine := tasks.Status_RUNNING, wire.Freeze, tasks.Status_PAUSED, s.pod.Pause
	if !frozen {
		status, method, next, machine = tasks.Status_PAUSED, wire.Thaw, tasks.Status_RUNNING, s.pod.Resume
	}
	if is, _ := c.init.state(); is != status {
		return fmt.Errorf("%w: container %s is %s", errdefs.ErrFailedPrecondition, id, is)
	}
	if c.machine {
		err = machine(ctx)
	} else {
		err = s.ask(ctx, method, &c.init.ref)
	}
	if err == nil {
		c.init.set(next)
	}
	return err
}

// ask makes a call about a container or process that answers nothing.
func (s *Service) ask(ctx context.Context, m wire.Method, ref *wire.Ref) error {
	session, err := s.pod.Session(ctx)
	if err != nil {
		return err
	}
	return session.Call(ctx, m, ref, &wire.Empty{})
}

// ResizePty sets a terminal's size.
func (s *Service) ResizePty(ctx context.Context, r *api.ResizePtyRequest) (*ptypes.Empty, error) {
	_, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	session, err := s.pod.Session(ctx)
	if err == nil {
		err = session.Call(ctx, wire.Resize, &wire.Size{Ref: p.ref, Width: r.Width, Height: r.Height}, &wire.Empty{})
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &ptypes.Empty{}, nil
}

// CloseIO ends a process's input.
func (s *Service) CloseIO(_ context.Context, r *api.CloseIORequest) (*ptypes.Empty, error) {
	_, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if copier := p.streams(); copier != nil && r.Stdin {
		copier.CloseInput()
	}
	return &ptypes.Empty{}, nil
}

// Update changes a container's limits in the guest, and the machine's size with
// them.
func (s *Service) Update(ctx context.Context, r *api.UpdateTaskRequest) (*ptypes.Empty, error) {
	if err := s.update(ctx, r); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &ptypes.Empty{}, nil
}

func (s *Service) update(ctx context.Context, r *api.UpdateTaskRequest) error {
	c, err := s.find(r.ID)
	if err != nil {
		return err
	}
	v, err := typeurl.UnmarshalAny(r.Resources)
	if err != nil {
		return fmt.Errorf("%w: resources: %w", errdefs.ErrInvalidArgument, err)
	}
	resources, ok := v.(*specs.LinuxResources)
	if !ok {
		return fmt.Errorf("%w: resources are a %T", errdefs.ErrInvalidArgument, v)
	}
	if c.machine {
		return nil // the pod's own limits are its control group's on the host
	}
	session, err := s.pod.Session(ctx)
	if err != nil {
		return err
	}
	limits := spec.Limits(resources)
	if err := s.pod.Resize(ctx, pod.SizeOf(c.limited()), pod.SizeOf(limits), func() error {
		return session.Call(ctx, wire.Update, &wire.NewLimits{ID: r.ID, Limits: limits}, &wire.Empty{})
	}); err != nil {
		return err
	}
	c.limit(limits)
	return nil
}

// onGuestEvent passes on what the guest reports, if it names a container: of
// each once, for containerd remembers no more, and the guest may say anything as
// often as it likes.
func (s *Service) onGuestEvent(e wire.Event) {
	if c, err := s.find(e.ID); err == nil && e.Kind == wire.OutOfMemory {
		c.outOfMemory.Do(func() { s.events.send(&eventstypes.TaskOOM{ContainerID: e.ID}) })
	}
}

// writeBack copies what the container left for the host: its termination
// message.
func (s *Service) writeBack(c *container) {
	for _, plan := range c.back {
		ctx, cancel := context.WithTimeout(s.context, othersLimit)
		data, err := s.pod.File(ctx, plan)
		cancel()
		if err == nil && len(data) > 0 {
			// The kubelet made the file; it is not made again once removed.
			err = rewrite(plan.Source, data)
		}
		if err != nil {
			log.L.WithError(err).WithField("id", c.id).Warn("termination message not copied to the host")
		}
	}
}

func rewrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}
