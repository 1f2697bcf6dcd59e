package main

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/log"
)

const (
	// watchInterval is how often the memory of containers with a limit is
	// looked at. The pod's own limit is the host kernel's and holds always;
	// this one keeps the containers of a pod from each other's share.
	watchInterval = time.Second
	// noise is how far the use of an idle sandbox moves by itself, in bytes.
	noise = 1 << 20
)

// pod is what the shim does for a sandbox and its containers while they run.
type pod struct {
	id      string
	sandbox sandbox
	group   memoryGroup
	freezer freezer
	before  uint64 // kills by the host's kernel when the pod began
	kill    func(container string)
	stop    context.CancelFunc
	ctx     context.Context
	parts   sync.WaitGroup // the goroutines of this pod

	mu         sync.Mutex
	containers map[string]*container // guarded by mu: those beside the sandbox's own
	watching   bool                  // guarded by mu
}

// container is what the shim knows of one of the pod's.
type container struct {
	bundle string // folder
	limits limits
	killed bool // for being over its memory limit, or with the whole sandbox
}

// newPod begins to look after the sandbox id, whose process is pid; kill ends
// a container that is over its limit.
func newPod(id string, pid int, s sandbox, kill func(container string)) *pod {
	ctx, stop := context.WithCancel(context.Background())
	p := &pod{
		id: id, sandbox: s, kill: kill, ctx: ctx, stop: stop,
		containers: map[string]*container{},
	}
	var err error
	if p.group, err = memoryGroupOf(pid); err != nil {
		log.L.WithError(err).Warn("pod: no memory limits of single containers")
	}
	p.before = p.group.kills()
	if p.freezer, err = freezerOf(pid); err != nil {
		log.L.WithError(err).Warn("pod: slow answers while it is frozen")
	}
	return p
}

// close ends the pod's goroutines and waits for them.
func (p *pod) close() {
	p.stop()
	p.parts.Wait()
}

// add looks after one more container.
func (p *pod) add(id string, c container) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.containers[id] = &c
	p.startWatch(c.limits)
}

// change gives a container other limits.
func (p *pod) change(id string, l limits) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.containers[id]
	if c == nil {
		return nil
	}
	c.limits = l
	p.startWatch(l)
	return l.write(c.bundle)
}

// startWatch begins to watch the pod's memory once there is a limit to keep.
func (p *pod) startWatch(l limits) {
	if l.memory > 0 && p.group.dir != "" && !p.watching {
		p.watching = true
		p.parts.Go(p.watch)
	}
}

func (p *pod) remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.containers, id)
}

// outOfMemory says whether the container, which was killed, was killed for
// its memory: by this shim, or with the whole sandbox by the host's kernel.
func (p *pod) outOfMemory(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.containers[id]
	if c == nil {
		return false
	}
	c.killed = c.killed || p.group.kills() > p.before
	return c.killed
}

// memoryOf is a container's memory limit in bytes, 0 for none, and whether it
// was killed for its memory.
func (p *pod) memoryOf(id string) (limit uint64, killed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.containers[id]
	if c == nil {
		return 0, false
	}
	return c.limits.memory, c.killed
}

// watch ends containers that are over their memory limit until the pod ends.
func (p *pod) watch() {
	ticks := time.NewTicker(watchInterval)
	defer ticks.Stop()
	var last uint64
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-ticks.C:
			last = p.look(last)
		}
	}
}

// look compares containers with their limits, and answers with the memory of
// the whole sandbox for the next look. The sandbox is asked only when that has
// moved and is more than some container may have: an idle pod costs the
// reading of one file.
func (p *pod) look(last uint64) uint64 {
	used, err := p.group.used()
	if err != nil {
		return last
	}
	if moved := max(used, last) - min(used, last); moved < noise {
		return last
	}
	for id, limit := range p.below(used) {
		has, err := p.sandbox.memory(id)
		if err != nil || has <= limit || !p.condemn(id) {
			continue
		}
		log.L.WithFields(log.Fields{"container": id, "used": has, "limit": limit}).Warn("container is over its memory limit")
		p.kill(id)
	}
	return used
}

// below lists the containers whose memory limit is less than used.
func (p *pod) below(used uint64) map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	some := map[string]uint64{}
	for id, c := range p.containers {
		if l := c.limits.memory; l > 0 && l < used && !c.killed {
			some[id] = l
		}
	}
	return some
}

// condemn marks a container as killed for its memory, before it is, so that
// its end is never seen without the reason. It may have gone meanwhile.
func (p *pod) condemn(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.containers[id]
	if c != nil {
		c.killed = true
	}
	return c != nil
}
