// Package upstream keeps connections to instances open between requests.
package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/gateway/stream"
)

const (
	// dialTimeout is long for a neighbour on the network, and short for a
	// request that can go elsewhere.
	dialTimeout = time.Second
	// idleTime is how long an unused connection stays open.
	idleTime = 30 * time.Second
	// maxIdle bounds the unused connections of one instance.
	maxIdle = 512
	// maxDials is how many connections are made to one instance at a time. An
	// instance that has just started would be overrun by all who waited for it.
	maxDials = 32
	// trusted is how long a connection may have been unused without being
	// looked at: looking costs a system call.
	trusted = 10 * time.Millisecond
)

// Conn is a connection to an instance. It is used for one request at a time.
type Conn struct {
	*stream.Conn
	// Used says that a request went over it before: it may fail because the
	// instance has just closed it, which says nothing about the instance.
	Used  bool
	since time.Time // when it was given back
}

// Pool has the connections of one instance.
type Pool struct {
	address string

	mu     sync.Mutex
	closed bool    // guarded by mu, as are all below
	idle   []*Conn // the one used last is at the end
	kept   *Conn   // for the request that wakes the instance; nil for none
	others Others  // nil for none
	sweep  *time.Timer
	// dials is how many connections are being made, and waiting who waits for
	// one of them to be done, or for a connection that is given back.
	dials   int
	waiting []chan grant
}

// grant is what a waiter gets: a connection, a dial that failed, or, with
// neither, leave to make a connection.
type grant struct {
	conn *Conn
	err  error
}

// NewPool returns a pool without connections.
func NewPool(address netip.AddrPort) *Pool { return &Pool{address: address.String()} }

// Get returns a connection that was used before, or makes one. The error of a
// connection that could not be made is nothing but that: no byte was sent.
func (p *Pool) Get() (*Conn, error) {
	for c := p.take(); c != nil; c = p.take() {
		if time.Since(c.since) < trusted || c.Quiet() {
			return c, nil
		}
		_ = c.Close()
	}
	if g := p.await(); g.conn != nil || g.err != nil {
		return g.conn, g.err
	}
	c, err := p.Dial()
	p.dialed(err)
	return c, err
}

// await returns when this request may make a connection, or need not.
func (p *Pool) await() grant {
	p.mu.Lock()
	if p.dials < maxDials {
		p.dials++
		p.mu.Unlock()
		return grant{}
	}
	granted := make(chan grant, 1)
	p.waiting = append(p.waiting, granted)
	p.mu.Unlock()
	return <-granted
}

// ErrNotTried is the error of who did not try to make a connection because one
// before could not be made.
var ErrNotTried = errors.New("the instance takes no connections at the moment")

// dialed lets the next one make a connection. Where one could not be made, the
// others do not try: they would wait as long.
func (p *Pool) dialed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials--
	switch {
	case err != nil:
		for p.serve(grant{err: ErrNotTried}) {
		}
	case p.dials < maxDials && p.serve(grant{}):
		p.dials++
	}
}

// serve gives the first who waits what it needs, if there is one; p.mu is held.
func (p *Pool) serve(g grant) bool {
	if len(p.waiting) == 0 {
		return false
	}
	p.waiting[0] <- g
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	return true
}

// Dial makes a new connection, however many are being made.
func (p *Pool) Dial() (*Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: stream.New(c)}, nil
}

func (p *Pool) take() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// Put gives a connection back whose answer was read to its end. One that has
// something buffered is closed: it would be taken for the next answer.
func (p *Pool) Put(c *Conn) {
	if len(c.Buffered()) > 0 {
		_ = c.Close()
		return
	}
	c.Release()
	c.Used, c.since = true, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.serve(grant{conn: c}) {
		return
	}
	if p.closed || len(p.idle) >= maxIdle {
		_ = c.Close()
		return
	}
	p.idle = append(p.idle, c)
	if p.sweep == nil {
		p.sweep = time.AfterFunc(idleTime, p.closeOld)
	}
}

// closeOld closes what has not been used for long, and comes back while
// something is left.
func (p *Pool) closeOld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := 0
	for old < len(p.idle) && time.Since(p.idle[old].since) >= idleTime {
		_ = p.idle[old].Close()
		old++
	}
	p.idle = append(p.idle[:0], p.idle[old:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	p.sweep = nil
	if len(p.idle) > 0 {
		p.sweep = time.AfterFunc(idleTime, p.closeOld)
	}
}

// Others are connections to the instance that somebody else makes and keeps.
type Others interface {
	// CloseIdleConnections closes those that no request uses.
	CloseIdleConnections()
}

// Others are those that go with this pool's, of which no more are kept than of
// its own; begin makes them for who asks first.
func (p *Pool) Others(begin func() Others) Others {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.others == nil {
		p.others = begin()
	}
	return p.others
}

// Open lets connections be kept; a new pool is open.
func (p *Pool) Open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
}

// Rest closes the connections that no request uses but one, which Wake returns:
// the instance will not be able to say that it has become too old. Others can be
// kept again.
func (p *Pool) Rest() {
	c := p.take()
	if c != nil {
		c.probe(false)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
	p.kept = c
}

// Wake returns the connection that Rest has kept; nil where there is none, or no
// more. An instance that sees how old it is may close it at any moment: it is for
// a request that can be sent again.
func (p *Pool) Wake() *Conn {
	p.mu.Lock()
	c := p.kept
	p.kept = nil
	p.mu.Unlock()
	if c == nil {
		return nil
	}
	if !c.Quiet() {
		_ = c.Close()
		return nil
	}
	c.probe(true)
	return c
}

// probe has the kernel ask now and then whether the other side is still there.
// It would take one that stands still for one that is gone.
func (c *Conn) probe(on bool) {
	if tcp, ok := c.Conn.Conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAlive(on)
	}
}

// drop is called with p.mu held.
func (p *Pool) drop() {
	for _, c := range p.idle {
		_ = c.Close()
	}
	if p.kept != nil {
		_ = p.kept.Close()
	}
	p.idle, p.kept = nil, nil
	if p.others != nil {
		p.others.CloseIdleConnections()
	}
}

// Close closes the connections that no request uses, and makes Put close the
// others.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.drop()
}
