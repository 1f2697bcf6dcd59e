// Package cluster boots and ends one instance: real upstream Kubernetes, etcd
// and containerd as supervised processes in a network namespace of their own,
// and Redoubt's roles beside them. The roles know nothing of it; on another
// cluster they run without this package.
//
// Up runs until it is told to stop; Down ends an instance from outside,
// whatever state it is in.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cluster/loud"
	"redoubt.dev/redoubt/internal/cluster/network"
	"redoubt.dev/redoubt/internal/cluster/registries"
	"redoubt.dev/redoubt/internal/cluster/supervise"
	"redoubt.dev/redoubt/internal/instance"
)

// ErrRunning says that the instance has a supervisor already.
var ErrRunning = errors.New("already running")

// boot is one run of an instance's supervisor.
type boot struct {
	inst   instance.Instance
	opts   Options
	engine string
	out    io.Writer // progress lines

	link       network.Link
	group      cgroup.Tree
	supervisor *supervise.Supervisor
	api        net.Listener // the host's end of the API server's relay
	http       net.Listener // the gateway's
	background background

	rotating sync.Mutex // held while certificates are made anew
	renewed  bool       // some have been, and not every component has its own; guarded by rotating
}

// step is one line of the boot.
type step struct {
	name string
	run  func(ctx context.Context) error
}

// Up boots the instance, says so on out step by step, and keeps it running
// until ctx ends or somebody asks it to stop; then it ends all of it, pods
// too. ready is called once everything runs.
func Up(ctx context.Context, inst instance.Instance, opts Options, out io.Writer, ready func(instance.State)) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	engine, err := instance.EngineDir()
	if err != nil {
		return err
	}
	unlock, err := lock(inst)
	if err != nil {
		return err
	}
	defer unlock()
	if err := claim(inst); err != nil {
		return err
	}
	b := &boot{inst: inst, opts: opts, engine: engine, out: out}
	// From here on others find it, and see that it is not ready.
	if err := errors.Join(becomeSupervisor(inst), inst.SaveState(b.state())); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = b.run(ctx, cancel)
	if err == nil {
		err = b.serve(ctx, ready)
	}
	cancel() // what runs in the background ends with ctx, and end waits for it
	return errors.Join(err, b.end())
}

// serve says that the instance is ready and returns when ctx ends.
func (b *boot) serve(ctx context.Context, ready func(instance.State)) error {
	state := b.state()
	state.Ready = true
	if err := b.inst.SaveState(state); err != nil {
		return err
	}
	ready(state)
	b.background.add(func() error { return b.renew(ctx) })
	if b.opts.Measure && !b.opts.Bare {
		b.background.add(func() error { b.measure(ctx); return nil })
	}
	<-ctx.Done()
	return nil
}

func (b *boot) run(ctx context.Context, stop context.CancelFunc) error {
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, b.opts.Wait)
	defer cancel()
	for _, s := range b.steps(ctx, stop) {
		if err := s.run(bounded); err != nil {
			if bounded.Err() != nil && ctx.Err() == nil {
				err = fmt.Errorf("not done within %v (--wait): %w; see: redoubt logs --name %s", b.opts.Wait, err, b.inst.Name)
			}
			return fmt.Errorf("the boot ended before %q: %w", s.name, err)
		}
		fmt.Fprintf(b.out, "%7.3fs %s\n", time.Since(started).Seconds(), s.name)
	}
	return nil
}

// steps are in the order of what needs what.
func (b *boot) steps(ctx context.Context, stop context.CancelFunc) []step {
	steps := []step{
		{"Checks passed", func(context.Context) error { return b.preflight() }},
		{"Network namespace joined to the host", func(context.Context) error { return b.setUpNetwork() }},
		{"Certificates and configuration written", func(context.Context) error { return b.configure() }},
		{"Processes started", func(context.Context) error { return b.start(ctx, stop) }},
		{"containerd ready", b.containerdReady},
		{"API server ready", b.apiServerReady},
		{"Cluster configuration applied", b.apply},
		{"Node ready", b.nodeReady},
	}
	if !b.opts.Bare {
		steps = append(steps,
			step{"Controller, gateway and node role ready", b.startRoles},
			step{"Services accepted", b.servicesAccepted})
	}
	return append(steps, step{"Pods accepted", b.podsAccepted})
}

func (b *boot) configure() error {
	_, err := b.makeCertificates(false)
	return errors.Join(err, b.writeConfig())
}

func (b *boot) setUpNetwork() (err error) {
	if b.group, err = cgroup.New(b.inst.ID()); err != nil {
		return err
	}
	if err := b.makeGroups(); err != nil {
		return err
	}
	if err := b.stopLeftovers(); err != nil {
		return err
	}
	if err := b.join(); err != nil {
		return err
	}
	if err := b.wall(); err != nil {
		return err
	}
	b.supervisor, err = supervise.New(b.inst.NetNS(), b.inst.LogDir(), b.group)
	return err
}

// join changes what instances share: the kernel's settings, and the addresses
// of links. By now the state is there, by which who ends another instance sees
// that this one needs the settings.
func (b *boot) join() error {
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	if err := network.RememberSysctls(instance.SysctlFile()); err != nil {
		return err
	}
	b.link, err = network.Setup(b.inst.ID(), b.inst.NetNS(), b.opts.PodRange)
	return err
}

// wall closes the pods' network until the node role knows who may send what
// to whom; where there is no such role, it is open.
func (b *boot) wall() error {
	if b.opts.Bare {
		return network.Open(b.inst.NetNS())
	}
	return network.Close(b.inst.NetNS(), b.opts.PodRange)
}

// makeGroups weighs the instance as what it is, a whole platform, not one more
// process beside the machine's others; and inside it the platform's own
// processes no less than all pods together, so that busy pods cannot starve
// what controls them.
func (b *boot) makeGroups() (err error) {
	for _, sub := range []string{"", "engine"} {
		err = errors.Join(err, b.group.Create(sub), b.group.Weigh(sub, runtime.NumCPU()))
	}
	return err
}

func (b *boot) start(ctx context.Context, stop context.CancelFunc) error {
	if err := b.startAll(b.etcd(), b.apiServer(), b.containerd()); err != nil {
		return err
	}
	if err := b.inst.SaveState(b.state()); err != nil {
		return err
	}
	b.background.add(func() error { return b.keepStore(ctx) })
	b.background.add(func() error { return b.relayAPI(ctx) })
	b.background.add(func() error { return loud.Keep(ctx, b.group, supervise.Group(b.containerd().Name)) })
	b.background.add(func() error { return network.Keep(ctx, b.inst.ID(), b.link) })
	b.background.add(func() error { return registries.Serve(ctx, b.inst.Data("registries"), b.inst.NetNS()) })
	return errors.Join(b.relayTraces(ctx), b.serveControl(ctx, stop))
}

func (b *boot) startAll(specs ...supervise.Spec) error {
	for _, spec := range specs {
		if err := b.supervisor.Start(spec); err != nil {
			return err
		}
	}
	return nil
}

func (b *boot) state() instance.State {
	return instance.State{
		SupervisorPID: os.Getpid(),
		DataDir:       b.inst.DataDir,
		HTTPPort:      b.opts.HTTPPort,
		APIPort:       b.opts.APIPort,
		HostIP:        b.link.HostIP,
		NodeIP:        b.link.NodeIP,
		PodRange:      b.opts.PodRange,
		ServiceRange:  b.opts.ServiceRange,
		Bare:          b.opts.Bare,
	}
}
