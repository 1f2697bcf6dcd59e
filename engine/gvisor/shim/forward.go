package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// linger is how long the second direction of a forwarded connection may go on
// after the first has ended: as long as containerd waits, too.
const linger = time.Second

// forward makes the pod's TCP ports reachable on the loopback of its network
// namespace on the host, where containerd looks for them to serve
// "kubectl port-forward". gVisor has its own network stack, so that nothing
// of the pod listens there.
//
// Nothing outside that namespace can reach its loopback. The listener and the
// redirection end with this process.
func (p *pod) forward(namespace string) error {
	if namespace == "" {
		return errors.New("the pod has no network namespace of its own")
	}
	ports, err := listenEverywhere(namespace)
	if err != nil {
		return err
	}
	p.parts.Go(func() {
		<-p.ctx.Done()
		_ = ports.Close()
	})
	p.parts.Go(func() { p.serve(ports) })
	return nil
}

// serve forwards connections until the listener is closed.
func (p *pod) serve(ports net.Listener) {
	for {
		conn, err := ports.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.L.WithError(err).Warn("port forwarding: accept")
			time.Sleep(linger) // out of descriptors or memory: others may end
			continue
		}
		p.parts.Go(func() {
			if err := p.relay(conn.(*net.TCPConn)); err != nil {
				log.L.WithError(err).Info("port forwarding")
			}
		})
	}
}

// relay joins client to the port of the pod that it asked for. One that
// nobody listens to is reset, which tells the user that it was refused.
func (p *pod) relay(client *net.TCPConn) error {
	defer client.Close()
	inside, err := p.sandbox.dial(p.id, uint16(client.LocalAddr().(*net.TCPAddr).Port))
	if err != nil {
		_ = client.SetLinger(0)
		return err
	}
	defer inside.Close()
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // ends with either side; there is nobody to tell
		ended <- struct{}{}
	}
	p.parts.Go(func() { pass(client, inside) })
	p.parts.Go(func() { pass(inside, client) })
	select {
	case <-ended:
	case <-p.ctx.Done():
		return nil
	}
	select {
	case <-ended:
	case <-time.After(linger):
	case <-p.ctx.Done():
	}
	return nil
}

// listenEverywhere listens on all TCP ports of the loopback of the network
// namespace at path. An accepted connection's local address tells the port.
func listenEverywhere(path string) (l net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		// Never unlocked: the thread ends with the goroutine, for it belongs
		// to another namespace now.
		runtime.LockOSThread()
		defer close(done)
		l, err = listenInside(path)
	}()
	<-done
	if err != nil {
		return nil, fmt.Errorf("listen in the pod's network namespace: %w", err)
	}
	return l, nil
}

func listenInside(path string) (net.Listener, error) {
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // the redirection takes no such sockets
	l, err := plain.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tcp := l.(*net.TCPListener)
	redirection, err := redirectLoopback(ns, tcp)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return everyPort{tcp, redirection}, nil
}

// everyPort is a listener with what brings all ports to it.
type everyPort struct {
	*net.TCPListener
	redirection io.Closer
}

func (e everyPort) Close() error { return errors.Join(e.redirection.Close(), e.TCPListener.Close()) }
