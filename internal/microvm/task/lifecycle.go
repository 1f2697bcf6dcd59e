package task

import (
	"context"
	"fmt"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	tasks "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/pod"
	"redoubt.dev/redoubt/internal/microvm/spec"
	"redoubt.dev/redoubt/internal/microvm/stdio"
	"redoubt.dev/redoubt/internal/wire"
)

const (
	// drainLimit is how long output is copied after a process has ended:
	// nobody may be reading it.
	drainLimit = 10 * time.Second
	// killLimit is how long the guest may take to signal a container, and to end one
	// that is killed. Without an answer containerd waits for two minutes, in vain,
	// and the next time too.
	killLimit = 30 * time.Second
	// maxExecs is how many extra processes a container has at once: each holds up
	// to four streams of the machine's, and memory of the node's.
	maxExecs = 128
	// othersLimit is how long a container's extra processes are awaited when
	// its first one, and so all, have ended.
	othersLimit = 5 * time.Second
)

// Start starts a created process.
func (s *Service) Start(ctx context.Context, r *api.StartRequest) (*api.StartResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err == nil {
		err = s.start(ctx, c, p)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.StartResponse{Pid: s.pid()}, nil
}

func (s *Service) start(ctx context.Context, c *container, p *process) error {
	if status, _ := p.state(); status != tasks.Status_CREATED {
		return fmt.Errorf("%w: process %s is not new", errdefs.ErrFailedPrecondition, p.ref.ID)
	}
	asked := time.Now()
	if !c.machine {
		session, err := s.pod.Session(ctx)
		if err != nil {
			return err
		}
		if p.ref.Exec != "" {
			if err := s.prepareExec(ctx, c, p, session); err != nil {
				return err
			}
		}
		if err := session.Call(ctx, wire.Start, &p.ref, &wire.Started{}); err != nil {
			s.discard(p)
			return err
		}
	}
	p.begin(asked)
	if p.ref.Exec == "" {
		s.events.send(&eventstypes.TaskStart{ContainerID: c.id, Pid: s.pid()})
	} else {
		s.events.send(&eventstypes.TaskExecStarted{ContainerID: c.id, ExecID: p.ref.Exec, Pid: s.pid()})
	}
	if !c.machine {
		s.runs.Do(func() { close(s.running) })
		go s.awaitExit(c, p)
	}
	return nil
}

// prepareExec makes the process in the guest and connects its files.
func (s *Service) prepareExec(ctx context.Context, c *container, p *process, session *wire.Session) error {
	if status, _ := c.init.state(); status == tasks.Status_STOPPED {
		return fmt.Errorf("%w: cannot start a process in container %s, which has ended", errdefs.ErrFailedPrecondition, c.id)
	}
	process, err := spec.Process(p.spec, c.spec.Linux.Seccomp, streams(p.paths))
	if err != nil {
		return err
	}
	if err := session.Call(ctx, wire.Exec, &wire.Command{Ref: p.ref, Process: *process}, &wire.Empty{}); err != nil {
		return err
	}
	copier, err := stdio.Attach(s.context, session, &p.ref, p.paths)
	if err != nil {
		return err
	}
	p.attach(copier)
	return nil
}

// discard ends the copying of a process that did not start.
func (s *Service) discard(p *process) {
	if copier := p.streams(); copier != nil {
		copier.Close()
	}
}

// awaitExit waits in the guest for a process's end, however long that takes.
func (s *Service) awaitExit(c *container, p *process) {
	var got wire.Exit
	session, err := s.pod.Session(s.context)
	if err == nil {
		err = session.Call(s.context, wire.Wait, &p.ref, &got)
	}
	e := exit{status: got.Status, at: p.ended(time.Unix(0, got.At), time.Now())}
	if err != nil {
		// The guest's clock and word are lost: the machine has ended.
		log.L.WithError(err).WithField("id", c.id).Warn("process ended with its virtual machine")
		e = exit{status: killed, at: time.Now()}
	}
	finish(p, drainLimit)
	s.exited(c, p, e)
}

// finish ends the copying of a process that has ended. What a container's extra
// process has written may wait longer than limit, which is past then only for
// what comes from the guest: somebody reads it as slowly as a pager does. Other
// output is for logs.
func finish(p *process, limit time.Duration) {
	copier := p.streams()
	if copier == nil {
		return
	}
	begin, before := time.Now(), copier.Waited()
	if copier.Drain(limit) || p.ref.Exec == "" {
		copier.Close()
		return
	}
	go func() {
		defer copier.Close()
		for time.Since(begin)-(copier.Waited()-before) < limit {
			if copier.Drain(limit / 10) {
				return
			}
		}
	}()
}

// exited makes a process's end known.
func (s *Service) exited(c *container, p *process, e exit) {
	if p.ref.Exec == "" {
		for _, other := range c.running() {
			select {
			case <-other.done:
			case <-time.After(othersLimit):
			}
		}
		s.writeBack(c)
	}
	if !p.end(e) {
		return
	}
	id := p.ref.Exec
	if id == "" {
		id = c.id
	}
	if !c.sandbox {
		s.events.send(&eventstypes.TaskExit{
			ContainerID: c.id, ID: id, Pid: s.pid(), ExitStatus: e.status, ExitedAt: protobuf.ToTimestamp(e.at),
		})
	}
	p.announce()
}

// awaitMachine ends the pod's own container with the machine. The others end
// by themselves: their connection to the guest breaks.
func (s *Service) awaitMachine(machine *pod.Pod) {
	<-machine.Done()
	how := machine.Exit()
	log.L.WithField("reason", how.Reason).WithField("console", how.Console).Info("virtual machine ended")
	machine.Kill()
	s.mu.Lock()
	var own []*container
	for _, c := range s.containers {
		if c.machine && c.init != nil {
			own = append(own, c)
		}
	}
	s.mu.Unlock()
	for _, c := range own {
		s.exited(c, c.init, exit{status: killed, at: how.At})
	}
}

// Kill sends a signal.
func (s *Service) Kill(ctx context.Context, r *api.KillRequest) (*ptypes.Empty, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err == nil {
		err = s.kill(ctx, c, p, r)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &ptypes.Empty{}, nil
}

func (s *Service) kill(ctx context.Context, c *container, p *process, r *api.KillRequest) error {
	status, _ := p.state()
	switch {
	case status == tasks.Status_STOPPED:
		return fmt.Errorf("%w: process already finished", errdefs.ErrNotFound)
	case c.machine:
		s.endMachine(c, r.Signal)
		return nil
	case status == tasks.Status_CREATED:
		s.discard(p)
		s.exited(c, p, exit{status: 128 + r.Signal, at: time.Now()})
		return nil
	}
	if unix.Signal(r.Signal) == unix.SIGKILL && p == c.init {
		go s.ensureEnd(p)
	}
	limited, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	err := s.signal(limited, p, r)
	if p == c.init && limited.Err() != nil && ctx.Err() == nil {
		s.endStalled(p)
		return fmt.Errorf("%w: the guest stalls, and its machine has ended", errdefs.ErrNotFound)
	}
	return err
}

func (s *Service) signal(ctx context.Context, p *process, r *api.KillRequest) error {
	session, err := s.pod.Session(ctx)
	if err != nil {
		return err
	}
	return session.Call(ctx, wire.Kill, &wire.Signal{Ref: p.ref, Number: r.Signal, All: r.All}, &wire.Empty{})
}

// ensureEnd ends the machine where a process does not end that was killed.
func (s *Service) ensureEnd(p *process) {
	select {
	case <-p.done:
	case <-s.pod.Done():
	case <-time.After(killLimit):
		s.endStalled(p)
	}
}

// endStalled ends a machine whose guest stalls, or lies.
func (s *Service) endStalled(p *process) {
	log.L.WithField("container", p.ref.ID).Errorf("the guest has not ended or even signalled a container within %v: its machine ends", killLimit)
	s.pod.Kill()
}

// endMachine ends the pod's own container and the machine with it, as signals
// that end the program that other runtimes have there do.
func (s *Service) endMachine(c *container, signal uint32) {
	switch unix.Signal(signal) {
	case unix.SIGKILL, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP:
	default:
		return
	}
	s.exited(c, c.init, exit{status: 128 + signal, at: time.Now()})
	s.pod.Kill()
}

// Wait blocks until a process has ended.
func (s *Service) Wait(ctx context.Context, r *api.WaitRequest) (*api.WaitResponse, error) {
	_, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, errgrpc.ToGRPC(ctx.Err())
	}
	_, e := p.state()
	return &api.WaitResponse{ExitStatus: e.status, ExitedAt: timestamp(e.at)}, nil
}

// Delete forgets a process that has ended.
func (s *Service) Delete(ctx context.Context, r *api.DeleteRequest) (*api.DeleteResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err == nil {
		err = s.delete(ctx, c, p)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	_, e := p.state()
	return &api.DeleteResponse{Pid: s.pid(), ExitStatus: e.status, ExitedAt: timestamp(e.at)}, nil
}

func (s *Service) delete(ctx context.Context, c *container, p *process) error {
	status, e := p.state()
	if status == tasks.Status_RUNNING || status == tasks.Status_PAUSED {
		return fmt.Errorf("%w: cannot delete a running process", errdefs.ErrFailedPrecondition)
	}
	s.discard(p)
	if !c.machine {
		s.deleteInGuest(ctx, p)
	}
	if p.ref.Exec != "" {
		c.mu.Lock()
		delete(c.execs, p.ref.Exec)
		c.mu.Unlock()
		return nil
	}
	for _, left := range c.extra() { // by a containerd that was started anew
		s.discard(left)
	}
	if c.machine {
		s.pod.Kill()
	}
	s.forget(c.id)
	s.events.send(&eventstypes.TaskDelete{
		ContainerID: c.id, ID: c.id, Pid: s.pid(), ExitStatus: e.status, ExitedAt: timestamp(e.at),
	})
	return nil
}

// deleteInGuest has the guest forget the process. In a machine that has ended
// nothing is left to forget.
func (s *Service) deleteInGuest(ctx context.Context, p *process) {
	session, err := s.pod.Session(ctx)
	if err != nil {
		return
	}
	if err := session.Call(ctx, wire.Delete, &p.ref, &wire.Empty{}); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsUnavailable(err) {
		log.L.WithError(err).WithField("id", p.ref.ID).Warn("process not removed in the guest")
	}
}

// Exec reserves one more process.
func (s *Service) Exec(_ context.Context, r *api.ExecProcessRequest) (*ptypes.Empty, error) {
	c, err := s.find(r.ID)
	if err == nil {
		err = s.exec(c, r)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.events.send(&eventstypes.TaskExecAdded{ContainerID: r.ID, ExecID: r.ExecID})
	return &ptypes.Empty{}, nil
}

func (s *Service) exec(c *container, r *api.ExecProcessRequest) error {
	if c.machine {
		return fmt.Errorf("%w: the pod's own container of a microVM runs no processes", errdefs.ErrNotImplemented)
	}
	v, err := typeurl.UnmarshalAny(r.Spec)
	if err != nil {
		return fmt.Errorf("%w: process: %w", errdefs.ErrInvalidArgument, err)
	}
	process, ok := v.(*specs.Process)
	if !ok {
		return fmt.Errorf("%w: process is a %T", errdefs.ErrInvalidArgument, v)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, exists := c.execs[r.ExecID]; exists || r.ExecID == "" {
		return fmt.Errorf("%w: process %q", errdefs.ErrAlreadyExists, r.ExecID)
	}
	if len(c.execs) >= maxExecs {
		return fmt.Errorf("%w: %d processes have been added to container %s, and no more can be until one of them ends", errdefs.ErrResourceExhausted, maxExecs, c.id)
	}
	paths := stdio.Paths{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal}
	c.execs[r.ExecID] = newProcess(wire.Ref{ID: c.id, Exec: r.ExecID}, paths, process)
	return nil
}
