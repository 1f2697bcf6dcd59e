package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

// connection is one to a program that serves. The goroutine of a call writes the
// request and reads the answer itself: the library's client has two more for
// that, whose waking takes longer than all the rest. Only a large request has
// another that writes it.
type connection struct {
	*net.TCPConn
	in    *bufio.Reader
	since time.Time // when it was given back
}

// fresh is for how long a connection waits for another request. Servers close
// theirs after seconds, and one that goes on after it was frozen does so while it
// is sent the next request, of which nobody knows then whether it was handled.
const fresh = time.Second

// atOnce is how large a body may be that the kernel takes although the program
// does not read, in bytes.
const atOnce = 16 << 10

// connections are those to one address that wait for another request.
type connections struct {
	address string
	idle    chan connection
}

func newConnections(address string, most int) connections {
	return connections{address, make(chan connection, most)}
}

// take is one that waits, or a new one.
func (all connections) take(ctx context.Context) (connection, error) {
	for {
		select {
		case c := <-all.idle:
			if time.Since(c.since) < fresh && c.waits() {
				return c, nil
			}
			_ = c.Close()
			continue
		default:
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", all.address)
		if err != nil {
			return connection{}, err
		}
		return connection{TCPConn: c.(*net.TCPConn), in: bufio.NewReader(c)}, nil
	}
}

// give takes one back whose answer has been read.
func (all connections) give(c connection) {
	c.since = time.Now()
	select {
	case all.idle <- c:
	default:
		_ = c.Close()
	}
}

// waits says whether the program has neither closed it nor sent what nobody asked for.
func (c connection) waits() bool {
	raw, err := c.SyscallConn()
	if err != nil || c.in.Buffered() > 0 {
		return false
	}
	var got error
	err = raw.Read(func(fd uintptr) bool {
		_, _, got = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && errors.Is(got, syscall.EAGAIN)
}

// exchange sends a request and reads its answer, of up to one byte more than one
// may have; ctx ends it.
func (all connections) exchange(ctx context.Context, req *http.Request) (resp *http.Response, body []byte, err error) {
	c, err := all.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // which has passed
	keeps := false
	defer func() {
		if stop() && keeps {
			all.give(c)
		} else {
			_ = c.Close()
		}
	}()
	sent := send(c, req)
	for resp == nil || resp.StatusCode < http.StatusOK && resp.StatusCode != http.StatusSwitchingProtocols {
		if resp, err = http.ReadResponse(c.in, req); err != nil {
			return nil, nil, err
		}
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, contract.MaxAnswer+1))
	// Who answers before it has read all may leave the rest.
	keeps = err == nil && isSent(sent) && !resp.Close && len(body) <= contract.MaxAnswer
	return resp, body, err
}

// send writes a request, and says on the channel what came of it. A large one is
// written while the answer is read: a program that answers as it reads would
// wait for its reader, and that for the program.
func send(c connection, req *http.Request) chan error {
	sent := make(chan error, 1)
	if req.ContentLength <= atOnce {
		sent <- req.Write(c)
		return sent
	}
	go func() { sent <- req.Write(c) }() // until the connection is closed
	return sent
}

// isSent says whether all of a request has been written.
func isSent(sent chan error) bool {
	select {
	case err := <-sent:
		return err == nil
	default:
		return false
	}
}
