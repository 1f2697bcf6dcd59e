// Package pod is one pod's virtual machine as the shim uses it: started from
// the template, joined to the pod's network, told who it is, and ended.
//
// Start returns as soon as the machine's process runs; the machine gets its
// identity meanwhile. Every call to the guest waits for that. A machine that
// cannot be configured is killed, which everybody sees as its end.
package pod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"redoubt.dev/redoubt/internal/microvm/cgroup"
	"redoubt.dev/redoubt/internal/microvm/network"
	"redoubt.dev/redoubt/internal/microvm/portforward"
	"redoubt.dev/redoubt/internal/microvm/template"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/volume"
	"redoubt.dev/redoubt/internal/wire"
)

// configureLimit is how long a machine may take until it is its pod's. A copy
// takes a fifth of a second; a busy host much longer.
const configureLimit = 2 * time.Minute

// Config is one pod's machine.
type Config struct {
	Store   template.Store
	Shape   vmm.Shape
	NetNS   string // the network namespace's path
	Cgroup  cgroup.Group
	UID     uint32 // the machine's own user and group
	Size    Size
	Sandbox wire.Sandbox
	// Rehearsal is the file with the layer of a spare machine's first container.
	Rehearsal string
	// OnEvent is called for what happens in the guest unasked.
	OnEvent func(wire.Event)
}

// Pod is a running pod.
type Pod struct {
	machine vmm.Machine
	volumes *volume.Watcher
	life    context.Context // ends with the pod
	stop    context.CancelFunc
	cgroup  cgroup.Group
	users   wire.Users
	resumed chan struct{} // the machine goes on after a pause

	ready   chan struct{} // closed once what follows is set
	session *wire.Session
	guest   wire.Guest
	shape   vmm.Shape
	err     error

	memory atomic.Int64 // the guest's, in bytes
	sizing sync.Mutex   // guards size
	size   Size
	// outside is what the machine used before it was this pod's, in bytes, and is
	// not counted in the pod's control group.
	outside int64
	disks   *disks
	shares  shares
	sending turns // by volume
}

// Frozen says whether the machine stands still because its pod is frozen.
func (p *Pod) Frozen() bool { return p.cgroup.Frozen() }

// Start starts the machine. ctx bounds the start alone.
func Start(ctx context.Context, c Config) (_ *Pod, err error) {
	let, err := c.Cgroup.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		let()
		if err != nil {
			err = errors.Join(err, c.Cgroup.Remove(context.WithoutCancel(ctx)))
		}
	}()
	joined, err := network.Join(c.NetNS)
	if err != nil {
		return nil, err
	}
	defer joined.Tap.Close()
	from, err := c.Store.Open(ctx, c.Shape)
	if err != nil {
		return nil, err
	}
	machine, err := from.Clone(ctx, vmm.Config{Tap: joined.Tap, Cgroup: c.Cgroup.Path(), UID: c.UID, GID: c.UID})
	if err != nil {
		return nil, err
	}
	p, err := newPod(ctx, machine, c)
	if err != nil {
		return nil, err
	}
	if joined.Link.Name != "" {
		joined.Link.Hardware = hardware
		c.Sandbox.Links = []wire.Link{joined.Link}
	}
	go p.configure(p.life, c, func() error { return nil })
	return p, nil
}

// hardware is the address that the card of every copy has.
var hardware = func() net.HardwareAddr {
	address, err := net.ParseMAC(vmm.MAC)
	if err != nil {
		panic(err) // it is a constant
	}
	return address
}()

// newPod takes over a machine, which ends where that fails.
func newPod(ctx context.Context, machine vmm.Machine, c Config) (*Pod, error) {
	watcher, err := volume.NewWatcher()
	if err != nil {
		machine.Kill()
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &Pod{
		machine: machine, volumes: watcher, life: life, stop: stop, cgroup: c.Cgroup, users: c.Sandbox.Users, shape: c.Shape,
		resumed: make(chan struct{}, 1), ready: make(chan struct{}), disks: newDisks(machine), size: c.Size,
	}
	p.memory.Store(c.Shape.Memory)
	return p, nil
}

// configure makes the machine the pod's, once it is where the pod is.
func (p *Pod) configure(ctx context.Context, c Config, join func() error) {
	defer close(p.ready)
	limited, cancel := context.WithTimeout(ctx, configureLimit)
	defer cancel()
	joined := make(chan error, 1)
	go func() { joined <- join() }()
	if p.err = errors.Join(p.greet(limited, c), <-joined); p.err != nil {
		p.err = fmt.Errorf("configure the virtual machine: %w", p.err)
		p.machine.Kill()
		return
	}
	go p.volumes.Run(ctx, p.refresh)
	go p.events(ctx, c.OnEvent)
	go p.forward(ctx, c.NetNS)
	go p.watch(ctx)
	go p.keepTime(ctx)
}

// greet greets the agent, which has been greeted already in a spare machine.
func (p *Pod) greet(ctx context.Context, c Config) (err error) {
	if p.session == nil {
		if p.session, err = wire.Host(p.machine.Channel()); err != nil {
			return err
		}
	}
	c.Sandbox.Entropy, c.Sandbox.Time = entropy(), time.Now().UnixNano()
	if err := p.session.Call(ctx, wire.Configure, &c.Sandbox, &p.guest); err != nil {
		return err
	}
	return p.setMemory(ctx, c.Size)
}

// entropy is fresh randomness for the guest's kernel.
func entropy() []byte {
	random := make([]byte, 64)
	_, _ = rand.Read(random) // never fails
	return random
}

// watch ends a machine that has lost its connection: one that broke the
// protocol, or whose agent is gone, cannot be told anything any more.
func (p *Pod) watch(ctx context.Context) {
	select {
	case <-p.session.Done():
		p.machine.Kill()
	case <-ctx.Done():
	}
}

// forward carries connections to the namespace's loopback into the guest. A
// pod without that runs all the same.
func (p *Pod) forward(ctx context.Context, netns string) {
	if err := portforward.Serve(ctx, netns, p.dial); err != nil {
		log.L.WithError(err).Warn("ports of this pod cannot be forwarded")
	}
}

// dial connects to a port of the guest's loopback interface, of IPv4 or else
// of IPv6.
func (p *Pod) dial(ctx context.Context, port uint16) (wire.Stream, error) {
	stream, err := p.session.Open(ctx, wire.Forward, &wire.Address{Port: uint32(port)}, &wire.Empty{})
	if err == nil {
		return stream, nil
	}
	return p.session.Open(ctx, wire.Forward, &wire.Address{Port: uint32(port), IPv6: true}, &wire.Empty{})
}

// Session waits until the machine is the pod's and returns the way to its
// agent.
func (p *Pod) Session(ctx context.Context) (*wire.Session, error) {
	select {
	case <-p.ready:
		return p.session, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Guest describes the guest, once Session has returned.
func (p *Pod) Guest() wire.Guest { return p.guest }

// events passes on what the guest reports.
func (p *Pod) events(ctx context.Context, on func(wire.Event)) {
	stream, err := p.session.Open(ctx, wire.Events, &wire.Empty{}, &wire.Empty{})
	if err != nil {
		return
	}
	defer stream.Close()
	for {
		e, err := wire.ReadEvent(stream)
		if err != nil {
			return
		}
		on(*e)
	}
}

// Check refuses a container that is not of the pod's users: a user namespace is
// a pod's, not a container's.
func (p *Pod) Check(users wire.Users) error {
	if !slices.Equal(users.UIDs, p.users.UIDs) || !slices.Equal(users.GIDs, p.users.GIDs) {
		return fmt.Errorf("%w: hostUsers: the container's users are not its pod's", errdefs.ErrInvalidArgument)
	}
	return nil
}

// PID is the machine's process.
func (p *Pod) PID() int { return p.machine.PID() }

// Done is closed when the machine has ended.
func (p *Pod) Done() <-chan struct{} { return p.machine.Done() }

// Exit says how it ended.
func (p *Pod) Exit() vmm.Exit { return p.machine.Exit() }

// Pause stops the whole machine, its clock with it.
func (p *Pod) Pause(ctx context.Context) error { return p.machine.Pause(ctx) }

// Resume lets it go on, and has its clock corrected.
func (p *Pod) Resume(ctx context.Context) error {
	err := p.machine.Resume(ctx)
	select {
	case p.resumed <- struct{}{}:
	default: // somebody said so already
	}
	return err
}

// Kill ends the machine at once and everything with it.
func (p *Pod) Kill() {
	p.stop()
	p.machine.Kill()
	if err := p.cgroup.Remove(context.Background()); err != nil {
		log.L.WithError(err).Warn("control group left behind")
	}
}
