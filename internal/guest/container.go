package guest

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// container is one of the pod's.
type container struct {
	spec   *wire.Container
	root   *rootfs
	cgroup cgroup
	init   *process
	extra  map[string]*process
	plans  map[string]*wire.Process // extra processes that have not started
}

var name = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)

// valid refuses names that could be more than a folder's.
func valid(id string) error {
	if !name.MatchString(id) {
		return fmt.Errorf("%w: name %q: use letters, digits, dots, dashes and underscores", errdefs.ErrInvalidArgument, id)
	}
	return nil
}

func (a *agent) create(spec *wire.Container) (_ *wire.Empty, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := valid(spec.ID); err != nil {
		return nil, err
	}
	if len(spec.Process.Args) == 0 {
		return nil, fmt.Errorf("%w: args: a process needs a program", errdefs.ErrInvalidArgument)
	}
	if _, exists := a.containers[spec.ID]; exists {
		return nil, fmt.Errorf("%w: container %s", errdefs.ErrAlreadyExists, spec.ID)
	}
	c := &container{spec: spec, extra: map[string]*process{}, plans: map[string]*wire.Process{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.discard())
		}
	}()
	if c.root, err = a.makeRoot(spec.ID, spec.Root); err != nil {
		return nil, err
	}
	if c.cgroup, err = newCgroup(spec.ID, spec.Limits); err != nil {
		return nil, err
	}
	files, err := newStdio(&spec.Process, c.root.pts, a.users.uid(spec.Process.UID))
	if err != nil {
		return nil, err
	}
	c.init = newProcess(files)
	// A container ends with its first process. In the pod's PID namespace the
	// kernel does not see to that, and what is left would hold the output open.
	c.init.after = func() { _ = c.cgroup.kill() }
	a.containers[spec.ID] = c
	return &wire.Empty{}, nil
}

// exec prepares one more process.
func (a *agent) exec(c *wire.Command) (*wire.Empty, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	of, err := a.container(c.ID)
	if err != nil {
		return nil, err
	}
	if err := valid(c.Exec); err != nil {
		return nil, err
	}
	if len(c.Process.Args) == 0 {
		return nil, fmt.Errorf("%w: args: a process needs a program", errdefs.ErrInvalidArgument)
	}
	if _, exists := of.extra[c.Exec]; exists {
		return nil, fmt.Errorf("%w: process %s", errdefs.ErrAlreadyExists, c.Exec)
	}
	files, err := newStdio(&c.Process, of.root.pts, a.users.uid(c.Process.UID))
	if err != nil {
		return nil, err
	}
	of.extra[c.Exec] = newProcess(files)
	of.plans[c.Exec] = &c.Process
	return &wire.Empty{}, nil
}

// container finds one; the agent's lock is held.
func (a *agent) container(id string) (*container, error) {
	c, ok := a.containers[id]
	if !ok {
		return nil, fmt.Errorf("%w: container %s", errdefs.ErrNotFound, id)
	}
	return c, nil
}

// process finds one; the agent's lock is not held.
func (a *agent) process(r *wire.Ref) (*process, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.container(r.ID)
	if err != nil {
		return nil, err
	}
	if r.Exec == "" {
		return c.init, nil
	}
	p, ok := c.extra[r.Exec]
	if !ok {
		return nil, fmt.Errorf("%w: process %s", errdefs.ErrNotFound, r.Exec)
	}
	return p, nil
}

func (a *agent) start(r *wire.Ref) (*wire.Started, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.container(r.ID)
	if err != nil {
		return nil, err
	}
	// The child would stop before it has become the program, and the agent, which
	// waits for that, with it.
	if c.cgroup.frozen() {
		return nil, fmt.Errorf("%w: cannot start a process in container %s, which is paused", errdefs.ErrFailedPrecondition, r.ID)
	}
	if r.Exec != "" {
		return a.startExtra(c, r.Exec)
	}
	if c.init.started() {
		return nil, fmt.Errorf("%w: container %s has started", errdefs.ErrFailedPrecondition, r.ID)
	}
	program, release, err := a.initProgram(c)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := a.processes.start(program, c.init); err != nil {
		return nil, startError(err, c.spec.Process.Args[0])
	}
	c.init.files.handedOver()
	go a.watchMemory(c)
	return &wire.Started{PID: uint32(c.init.pid)}, nil
}

func (a *agent) startExtra(c *container, id string) (*wire.Started, error) {
	p, plan := c.extra[id], c.plans[id]
	if p == nil {
		return nil, fmt.Errorf("%w: process %s", errdefs.ErrNotFound, id)
	}
	pidfd, running := c.init.descriptor()
	if !running {
		return nil, fmt.Errorf("%w: cannot start a process in a container that has ended", errdefs.ErrFailedPrecondition)
	}
	defer unix.Close(pidfd)
	if plan == nil {
		return nil, fmt.Errorf("%w: process %s has started", errdefs.ErrFailedPrecondition, id)
	}
	program, release, err := a.extraProgram(c, plan, p.files, pidfd)
	if err != nil {
		return nil, err
	}
	defer release()
	delete(c.plans, id)
	if err := a.processes.start(program, p); err != nil {
		return nil, startError(err, plan.Args[0])
	}
	p.files.handedOver()
	return &wire.Started{PID: uint32(p.pid)}, nil
}

func (a *agent) wait(r *wire.Ref) (*wire.Exit, error) {
	p, err := a.process(r)
	if err != nil {
		return nil, err
	}
	exit := p.await()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, err := a.container(r.ID); err == nil {
		exit.OOMKilled = c.cgroup.oomKills() > 0
	}
	return &exit, nil
}

func (a *agent) kill(s *wire.Signal) (*wire.Empty, error) {
	p, err := a.process(&s.Ref)
	if err != nil {
		return nil, err
	}
	if s.Number == 0 || s.Number > 64 {
		return nil, fmt.Errorf("%w: signal %d", errdefs.ErrInvalidArgument, s.Number)
	}
	if !s.All {
		return &wire.Empty{}, p.signal(s.Number)
	}
	if !p.running() {
		return nil, fmt.Errorf("%w: process already finished", errdefs.ErrNotFound)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.container(s.ID)
	if err != nil {
		return nil, err
	}
	return &wire.Empty{}, c.cgroup.signalAll(s.Number)
}

func (a *agent) resize(s *wire.Size) (*wire.Empty, error) {
	p, err := a.process(&s.Ref)
	if err != nil {
		return nil, err
	}
	return &wire.Empty{}, p.files.resize(s.Width, s.Height)
}

// remove forgets a process, or a container. One that runs is ended: it was
// started when the host had given up the call.
func (a *agent) remove(r *wire.Ref) (*wire.Empty, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.container(r.ID)
	if err != nil {
		return nil, err
	}
	if r.Exec != "" {
		if p := c.extra[r.Exec]; p != nil {
			_ = p.signal(uint32(unix.SIGKILL)) // it has mostly ended
			p.files.close()
		}
		delete(c.extra, r.Exec)
		delete(c.plans, r.Exec)
		return &wire.Empty{}, nil
	}
	delete(a.containers, r.ID)
	return &wire.Empty{}, c.discard()
}

// discard takes away whatever part of the container was made, and ends what runs
// in it.
func (c *container) discard() error {
	var errs []error
	if c.init != nil {
		_ = c.init.signal(uint32(unix.SIGKILL))
		c.init.files.close()
	}
	for _, p := range c.extra {
		p.files.close()
	}
	if c.cgroup.path != "" {
		errs = append(errs, c.cgroup.remove())
	}
	if c.root != nil {
		errs = append(errs, c.root.remove())
	}
	return errors.Join(errs...)
}

func (a *agent) update(u *wire.NewLimits) (*wire.Empty, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.container(u.ID)
	if err != nil {
		return nil, err
	}
	return &wire.Empty{}, c.cgroup.limit(u.Limits)
}

func (a *agent) freeze(r *wire.Ref, frozen bool) (*wire.Empty, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.container(r.ID)
	if err != nil {
		return nil, err
	}
	return &wire.Empty{}, c.cgroup.freeze(frozen)
}

func (a *agent) pids(r *wire.Ref) (*wire.PIDs, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.container(r.ID)
	if err != nil {
		return nil, err
	}
	list, err := c.cgroup.pids()
	return &wire.PIDs{List: list}, err
}

func (a *agent) stdin(r *wire.Ref) (func(wire.Stream), error) {
	p, err := a.process(r)
	if err != nil {
		return nil, err
	}
	return p.files.receive()
}

func (a *agent) stdout(r *wire.Ref) (func(wire.Stream), error) {
	p, err := a.process(r)
	if err != nil {
		return nil, err
	}
	return p.files.send(p.files.out)
}

func (a *agent) stderr(r *wire.Ref) (func(wire.Stream), error) {
	p, err := a.process(r)
	if err != nil {
		return nil, err
	}
	return p.files.send(p.files.err)
}
