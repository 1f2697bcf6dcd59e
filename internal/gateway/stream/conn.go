// Package stream is a connection with a buffer that it has only while there is
// something in it: ten thousand idle connections hold none.
//
// A Conn is read by one goroutine at a time. Writing, closing and deadlines
// are those of the connection inside.
package stream

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrFull is returned by Fill when the buffer holds Max bytes already.
var ErrFull = errors.New("buffer is full")

// Max is how many bytes a buffer holds at most: a head and something after it.
const Max = 2 * large

// Conn is a connection and what has been read from it.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil when it is not a socket
	// under is the socket of a connection that is none itself, but over one.
	under syscall.RawConn

	buf  *[]byte // nil while nothing is buffered
	r, w int     // what is buffered is (*buf)[r:w]

	// What read, which is made once, gives to its caller.
	read func(fd uintptr) bool
	n    int
	err  error
}

// New wraps a connection.
func New(c net.Conn) *Conn {
	s := &Conn{Conn: c}
	if s.raw = rawOf(c); s.raw != nil {
		s.read = s.tryRead
		return s
	}
	for s.under == nil {
		upper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = upper.NetConn()
		s.under = rawOf(c)
	}
	return s
}

// rawOf is nil when c is not a socket.
func rawOf(c net.Conn) syscall.RawConn {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Buffered is what has been read and not been discarded. It is valid until
// the next call of Fill, Discard, Release or Close.
func (c *Conn) Buffered() []byte {
	if c.buf == nil {
		return nil
	}
	return (*c.buf)[c.r:c.w]
}

// Discard takes n bytes off the front of what is buffered.
func (c *Conn) Discard(n int) {
	if c.r += n; c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// Release gives the buffer back if nothing is in it.
func (c *Conn) Release() {
	if c.buf != nil && c.r == c.w {
		put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// Close closes the connection. The buffer is the reader's to drop.
func (c *Conn) Close() error { return c.Conn.Close() }

// Grow makes the next Fill read much at once. It does nothing while something
// is buffered.
func (c *Conn) Grow() {
	if c.buf != nil && c.r == c.w && len(*c.buf) < large {
		put(c.buf)
		c.buf, c.r, c.w = get(large), 0, 0
	}
}

// Fill reads at least one more byte. The bytes that are buffered stay in
// order, but may move.
func (c *Conn) Fill() error {
	if err := c.room(); err != nil {
		return err
	}
	if c.raw == nil {
		return c.plainFill()
	}
	if err := c.raw.Read(c.read); err != nil {
		return err
	}
	if c.err != nil {
		return c.err
	}
	if c.n == 0 {
		return io.EOF
	}
	c.w += c.n
	return nil
}

// room sees to it that a buffer, if there is one, has space.
func (c *Conn) room() error {
	if c.buf == nil || c.w < len(*c.buf) {
		return nil
	}
	if c.r > 0 {
		c.w = copy(*c.buf, (*c.buf)[c.r:c.w])
		c.r = 0
		return nil
	}
	if len(*c.buf) >= Max {
		return ErrFull
	}
	bigger := get(len(*c.buf) * 2)
	copy(*bigger, *c.buf)
	put(c.buf)
	c.buf = bigger
	return nil
}

func (c *Conn) plainFill() error {
	if c.buf == nil {
		c.buf = get(small)
	}
	n, err := c.Conn.Read((*c.buf)[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// tryRead reads what is there, and returns false to be called again when
// something is. It holds a buffer only in between.
func (c *Conn) tryRead(fd uintptr) bool {
	if c.buf == nil {
		c.buf = get(small)
	}
	for {
		c.n, c.err = unix.Read(int(fd), (*c.buf)[c.w:])
		if c.err != unix.EINTR {
			break
		}
	}
	if c.err == unix.EAGAIN {
		c.Release()
		return false
	}
	return true
}

// Quiet says whether the peer has neither sent anything since the last read
// nor ended the connection. It does not wait. A connection that is not a
// socket is taken to be quiet.
func (c *Conn) Quiet() bool {
	n, err := c.peek()
	return n < 0 && err == nil
}

// Gone says whether the peer has ended the connection. It does not wait, and
// may be called while nobody reads.
func (c *Conn) Gone() bool {
	if c.under != nil {
		return ended(c.under)
	}
	n, err := c.peek()
	return n == 0 || err != nil
}

// peek returns how many bytes could be read, -1 when it would have to wait.
func (c *Conn) peek() (n int, err error) {
	if c.raw == nil {
		return -1, nil
	}
	failed := c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	if err == unix.EAGAIN || err == unix.EINTR {
		return -1, nil
	}
	return n, errors.Join(failed, err)
}

// ended says whether the peer has ended a connection whose bytes say nothing
// about that: the last word of TLS is among them, and so is what comes with a
// new key.
func ended(raw syscall.RawConn) bool {
	const established = 1 // TCP_ESTABLISHED of the kernel's net/tcp_states.h
	var info *unix.TCPInfo
	var err error
	failed := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	return failed != nil || err == nil && info.State != established
}
