// Package guest is the agent in a Redoubt virtual machine: its first process.
//
// Run brings the machine up to where it waits, idle, for the host's greeting;
// a machine may be copied at that point. Then it does what the host asks over
// package wire until the host goes away, which ends the machine.
//
// A container is a set of namespaces and a control group inside the machine.
// The machine is what isolates tenants from each other; the namespaces keep
// the containers of one pod apart and give each the view it expects. All
// containers share the machine's network, IPC and host name, as those of a pod
// do anyway.
package guest

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// stateDir holds containers' file systems and volumes, in memory.
const stateDir = "/run/redoubt"

// agent is what the machine is doing.
type agent struct {
	processes *table
	events    chan wire.Event
	lastCap   int // the kernel's highest capability

	mu         sync.Mutex // guards what follows
	containers map[string]*container
	volumes    map[string]*volume
	layers     map[uint32]string // disks that are mounted, and where
	holder     *process          // keeps the shared PID namespace, if any
	users      users
}

// Run is the whole life of the machine. It returns only with an error.
func Run() error {
	if err := boot(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	return Serve(port)
}

// Serve announces the agent on conn, waits for the host, and does as asked.
func Serve(conn io.ReadWriteCloser) error {
	a := newAgent()
	go a.processes.reap()
	if err := wire.Announce(conn); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	if err := wire.AwaitGreeting(conn); err != nil {
		return err
	}
	return wire.Serve(conn, a.handlers())
}

func newAgent() *agent {
	return &agent{
		processes:  newTable(),
		events:     make(chan wire.Event, 64),
		lastCap:    lastCapability(),
		containers: map[string]*container{},
		volumes:    map[string]*volume{},
		layers:     map[uint32]string{},
	}
}

func (a *agent) handlers() map[wire.Method]wire.Handler {
	return map[wire.Method]wire.Handler{
		wire.Configure: wire.Handle(a.configure),
		wire.Create:    wire.Handle(a.create),
		wire.Exec:      wire.Handle(a.exec),
		wire.Start:     wire.Handle(a.start),
		wire.Wait:      wire.Handle(a.wait),
		wire.Kill:      wire.Handle(a.kill),
		wire.Resize:    wire.Handle(a.resize),
		wire.Delete:    wire.Handle(a.remove),
		wire.Update:    wire.Handle(a.update),
		wire.Freeze:    wire.Handle(func(r *wire.Ref) (*wire.Empty, error) { return a.freeze(r, true) }),
		wire.Thaw:      wire.Handle(func(r *wire.Ref) (*wire.Empty, error) { return a.freeze(r, false) }),
		wire.Stats:     wire.Handle(a.stats),
		wire.Processes: wire.Handle(a.pids),
		wire.PutVolume: wire.Handle(a.putVolume),
		wire.GetFile:   wire.Handle(a.getFile),
		wire.Stdin:     wire.HandleStream(a.stdin),
		wire.Stdout:    wire.HandleStream(a.stdout),
		wire.Stderr:    wire.HandleStream(a.stderr),
		wire.Forward:   wire.HandleStream(forward),
		wire.Events:    wire.HandleStream(a.watch),
		wire.Files:     wire.HandleStream(a.files),
		wire.Reset:     wire.Handle(a.reset),
		wire.UseCPUs:   wire.Handle(setCPUs),
		wire.SetClock:  wire.Handle(adjustClock),
	}
}

// PowerOff ends the machine.
func PowerOff() error {
	unix.Sync()
	return errors.Join(errors.New("power off"), unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}
