package qemu

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// wire is a socket pair: the near end stays here, the far end becomes QEMU's.
type wire struct {
	near *net.UnixConn
	far  *os.File
}

// wires are a machine's connections.
type wires struct{ monitor, agent, console, stderr wire }

func newWires() (w *wires, err error) {
	w = &wires{}
	for _, one := range w.all() {
		if *one, err = newWire(); err != nil {
			w.closeFar()
			w.closeNear()
			return nil, fmt.Errorf("make a socket pair: %w", err)
		}
	}
	return w, nil
}

func newWire() (wire, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return wire{}, err
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	conn, err := net.FileConn(near) // a copy, which does not block
	_ = near.Close()
	if err != nil {
		_ = far.Close()
		return wire{}, err
	}
	return wire{conn.(*net.UnixConn), far}, nil
}

func (w *wires) all() []*wire { return []*wire{&w.monitor, &w.agent, &w.console, &w.stderr} }

// far is what QEMU is handed, in the order of the fd constants, after its
// standard input, output and error.
func (w *wires) far() []*os.File {
	return []*os.File{w.stderr.far, w.stderr.far, w.stderr.far, w.monitor.far, w.agent.far, w.console.far}
}

func (w *wires) closeFar() {
	for _, one := range w.all() {
		if one.far != nil {
			_ = one.far.Close()
		}
	}
}

func (w *wires) closeNear() {
	for _, one := range w.all() {
		if one.near != nil {
			_ = one.near.Close()
		}
	}
}
