package task

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	tasks "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/microvm/stdio"
	"redoubt.dev/redoubt/internal/microvm/volume"
	"redoubt.dev/redoubt/internal/wire"
)

// killed is the exit code of a process that was killed with SIGKILL.
const killed = 137

// container is one of the pod's. Its fields are set before init is, and do not
// change then.
type container struct {
	id, bundle string
	spec       *specs.Spec
	machine    bool      // the pod's own container
	sandbox    bool      // that is no task of containerd's, but the pod itself
	created    time.Time // of a sandbox
	back       []volume.Plan
	init       *process
	// outOfMemory is done once containerd knows of it.
	outOfMemory sync.Once

	mu     sync.Mutex // guards what follows
	limits wire.Limits
	execs  map[string]*process
	usage  *wire.Usage   // as last measured
	fault  error         // why the last measurement failed; nil when it did not
	asked  chan struct{} // closed when the present measurement ends; nil without one
}

// process is a container's first one or one more.
type process struct {
	ref   wire.Ref
	paths stdio.Paths
	spec  *specs.Process

	mu     sync.Mutex // guards what follows
	copier *stdio.Copier
	status tasks.Status
	began  time.Time // at the earliest
	exit   exit
	done   chan struct{} // closed at its end
}

// exit is a process's end.
type exit struct {
	status uint32
	at     time.Time
}

func newProcess(ref wire.Ref, paths stdio.Paths, spec *specs.Process) *process {
	return &process{ref: ref, paths: paths, spec: spec, status: tasks.Status_CREATED, done: make(chan struct{})}
}

func (c *container) process(exec string) (*process, error) {
	if exec == "" {
		return c.init, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.execs[exec]
	if !ok {
		return nil, fmt.Errorf("%w: process %s of container %s", errdefs.ErrNotFound, exec, c.id)
	}
	return p, nil
}

// limited are the container's limits, and limit notes others.
func (c *container) limited() wire.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits
}

func (c *container) limit(l wire.Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = l
}

// extra lists the extra processes.
func (c *container) extra() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.execs))
}

// running lists those that have not ended.
func (c *container) running() []*process {
	return slices.DeleteFunc(c.extra(), func(p *process) bool {
		status, _ := p.state()
		return status != tasks.Status_RUNNING
	})
}

func (p *process) state() (tasks.Status, exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status, p.exit
}

// begin moves a created process, which was asked for then, to running.
func (p *process) begin(asked time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status == tasks.Status_CREATED {
		p.status, p.began = tasks.Status_RUNNING, asked
	}
}

// ended is when the process has, which was known now. The guest says at, but its
// clock may be wrong, or it lies: the kubelet decides by it when to try again.
func (p *process) ended(at, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.Before(p.began) || at.After(now) {
		return now
	}
	return at
}

// set moves a process between running and paused.
func (p *process) set(status tasks.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != tasks.Status_STOPPED {
		p.status = status
	}
}

// end records the end and says whether it is news. Whoever waits is told by
// announce, once the event is on its way.
func (p *process) end(e exit) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status == tasks.Status_STOPPED {
		return false
	}
	p.status, p.exit = tasks.Status_STOPPED, e
	return true
}

func (p *process) announce() { close(p.done) }

func (p *process) attach(c *stdio.Copier) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copier = c
}

func (p *process) streams() *stdio.Copier {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.copier
}
