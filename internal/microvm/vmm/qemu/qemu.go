// Package qemu is the hypervisor: it starts QEMU in a jail and drives it over
// QMP.
//
// QEMU gets everything it uses as open files and as a root folder made for it
// (Root), so that it needs no view of the host. Its monitor, the agent's
// channel and the console are socket pairs: nothing of a machine has a name
// on the host that another process could open, and nothing is left when it
// ends.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/jail"
	"redoubt.dev/redoubt/internal/microvm/vmm/qmp"
)

// Machine is a running QEMU. It implements vmm.Machine.
type Machine struct {
	shape    vmm.Shape
	process  *jail.Process
	monitor  *qmp.Client
	channel  net.Conn
	console  *tail // what the guest's kernel wrote
	stderr   *tail // what QEMU itself wrote
	done     chan struct{}
	migrated chan string // how a transfer of state ended
	exit     vmm.Exit    // set before done is closed

	mu    sync.Mutex
	disks map[vmm.DiskAddress]bool // guarded by mu: the targets in use
	ended string                   // guarded by mu: the reason QEMU gave
	gone  map[string]chan struct{} // guarded by mu: devices whose removal is awaited
}

// Start boots a machine from root and returns when QEMU answers; the guest is
// booting then.
func Start(ctx context.Context, root Root, config vmm.Config) (*Machine, error) {
	return run(ctx, root, config, booted)
}

func run(ctx context.Context, root Root, config vmm.Config, from origin) (*Machine, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	m, err := start(ctx, root, config, from)
	if err != nil {
		return nil, fmt.Errorf("start a virtual machine: %w", err)
	}
	return m, nil
}

func start(ctx context.Context, root Root, config vmm.Config, from origin) (_ *Machine, err error) {
	m := &Machine{shape: config.Shape, done: make(chan struct{}), migrated: make(chan string, 1), disks: map[vmm.DiskAddress]bool{}, gone: map[string]chan struct{}{}}
	wires, err := newWires()
	if err != nil {
		return nil, err
	}
	m.process, err = jail.Start(jail.Spec{
		Root: root.Dir, Path: "/" + program, Args: arguments(config.Shape, from), Env: root.environment(from),
		Files: append(wires.far(), config.Tap),
		UID:   config.UID, GID: config.GID, Cgroup: config.Cgroup,
		Devices: deviceFiles(config.Shape.Accelerator),
	})
	wires.closeFar() // or their ends would not be seen here
	if err != nil {
		wires.closeNear()
		return nil, err
	}
	m.channel = wires.agent.near
	m.console, m.stderr = follow(wires.console.near), follow(wires.stderr.near)
	m.monitor, err = qmp.New(ctx, wires.monitor.near, m.event)
	go m.wait()
	if err != nil {
		m.Kill()
		return nil, errors.Join(err, m.complaint())
	}
	return m, nil
}

// wait records the machine's end and lets go of what belonged to it.
func (m *Machine) wait() {
	<-m.process.Done()
	if m.monitor != nil {
		m.monitor.Wait() // its last event may be the reason
	}
	m.console.wait()
	m.stderr.wait()
	m.exit = vmm.Exit{At: time.Now(), Reason: m.reason(), Console: m.console.String()}
	close(m.done)
}

func (m *Machine) reason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended != "" {
		return m.ended
	}
	reason := "qemu ended: " + m.process.State().String()
	if complaint := m.complaint(); complaint != nil {
		reason += "; " + complaint.Error()
	}
	return reason
}

// complaint is what QEMU wrote to its standard error, if it wrote anything.
func (m *Machine) complaint() error {
	if text := m.stderr.String(); text != "" {
		return fmt.Errorf("qemu says: %s", text)
	}
	return nil
}

func (m *Machine) Channel() net.Conn     { return m.channel }
func (m *Machine) PID() int              { return m.process.PID() }
func (m *Machine) Done() <-chan struct{} { return m.done }
func (m *Machine) Exit() vmm.Exit        { return m.exit }

func (m *Machine) Kill() {
	m.process.Kill()
	<-m.done
}
