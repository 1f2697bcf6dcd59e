// Package relay forwards TCP connections between the host and an instance's
// network namespace, so that each side reaches the other's loopback.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Dialer opens the far side of one connection.
type Dialer func(ctx context.Context) (net.Conn, error)

// Loopback dials a port of the loopback of the namespace that the caller is in,
// in either family of addresses.
func Loopback(port string) Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", net.JoinHostPort("localhost", port))
	}
}

// Serve accepts from l until ctx ends and joins each connection to one from
// dial. A connection whose far side does not answer is closed at once: the
// near side sees what it would see without a relay. It returns when every
// connection is closed.
func Serve(ctx context.Context, l net.Listener, dial Dialer) error {
	var conns sync.WaitGroup
	const pause = 50 * time.Millisecond
	defer conns.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		near, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if !passes(err) {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		conns.Go(func() { join(ctx, near, dial) })
	}
}

// passes says whether an error is of too many open files or connections, which
// end. Who is about to connect waits meanwhile.
func passes(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

func join(ctx context.Context, near net.Conn, dial Dialer) {
	defer near.Close()
	far, err := dial(ctx)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = near.Close()
		_ = far.Close()
	})
	defer stop()
	var halves sync.WaitGroup
	halves.Go(func() { pipe(far, near) })
	halves.Go(func() { pipe(near, far) })
	halves.Wait()
}

// pipe copies one direction and passes its end on, so that a half-closed
// connection stays half-closed.
func pipe(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	if tcp, ok := dst.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
