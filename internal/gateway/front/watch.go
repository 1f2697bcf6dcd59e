package front

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/upstream"
)

const (
	// idleTimeout is how long a connection stays open without a request.
	idleTimeout = 2 * time.Minute
	// headTimeout is how long a client may take for a request's head.
	headTimeout = 10 * time.Second
	// bodyTimeout is how long a client may pause within a request's body, and
	// in taking the answer.
	bodyTimeout = time.Minute
)

// past is a deadline that ends reads and writes at once.
var past = time.Unix(1, 0)

// phase is what a session does at the moment.
type phase int32

const (
	idle    phase = iota // waits for a request
	head                 // reads a request's head
	waiting              // waits for an instance
	asked                // waits for the answer's head
	passing              // passes the answer on
	joined               // passes bytes of another protocol, both ways
)

// watch is what the watchdog looks at, from another goroutine.
type watch struct {
	phase    atomic.Int32
	deadline atomic.Int64 // of the phase, by the server's clock; 0 is none
	upload   atomic.Int64 // of the next byte of the request's body
	quiet    atomic.Int64 // of the next byte of any kind
	cause    atomic.Pointer[balance.Refusal]

	mu   sync.Mutex
	up   *upstream.Conn // guarded by mu; the connection that the exchange uses
	left bool           // guarded by mu; gone is closed
}

// enter begins a phase that may last d; 0 is for ever.
func (n *session) enter(p phase, d time.Duration) {
	n.watch.phase.Store(int32(p))
	if d == 0 {
		n.watch.deadline.Store(0)
		return
	}
	n.watch.deadline.Store(n.server.clock.in(d))
}

// onward begins a phase as enter does, and takes back what lastCall or idleness did
// to the connection: what begins now has all the time that it needs.
func (n *session) onward(p phase, d time.Duration) {
	n.enter(p, d)
	n.watch.mu.Lock()
	defer n.watch.mu.Unlock()
	if n.watch.cause.Load() == nil {
		_ = n.conn.SetDeadline(time.Time{})
	}
}

// use tells the watchdog which connection to end with the exchange; nil for
// none. An exchange that was ended while it had none ends with this one.
func (n *session) use(up *upstream.Conn) {
	n.watch.mu.Lock()
	defer n.watch.mu.Unlock()
	n.watch.up = up
	if up != nil && n.watch.cause.Load() != nil {
		_ = up.SetDeadline(past)
	}
}

// abort ends the exchange for a reason: the first one counts.
func (n *session) abort(why *balance.Refusal) {
	n.watch.cause.CompareAndSwap(nil, why)
	n.watch.mu.Lock()
	defer n.watch.mu.Unlock()
	if n.watch.up != nil {
		_ = n.watch.up.SetDeadline(past)
	}
	if !n.watch.left && phase(n.watch.phase.Load()) == waiting {
		n.watch.left = true
		close(n.gone)
	}
}

// sweep looks at every session.
func (s *Server) sweep(now int64, look bool) {
	s.each(func(n *session) {
		if over(&n.watch.deadline, now) {
			n.expire()
		}
		if over(&n.watch.upload, now) {
			n.abort(slowClient)
			_ = n.conn.SetReadDeadline(past)
		}
		if over(&n.watch.quiet, now) {
			n.abort(&balance.Refusal{Status: http.StatusGatewayTimeout, Message: "no byte was passed for as long as idleTimeoutSeconds allows"})
			_ = n.conn.SetDeadline(past)
		}
		if look && n.unread() && n.conn.Gone() {
			n.abort(clientGone)
		}
	})
}

// unread says that the client could leave and nobody would notice.
func (n *session) unread() bool {
	p := phase(n.watch.phase.Load())
	return p >= waiting && p <= passing
}

func over(deadline *atomic.Int64, now int64) bool {
	d := deadline.Load()
	return d != 0 && now > d
}

// expire ends the phase that took too long.
func (n *session) expire() {
	switch phase(n.watch.phase.Load()) {
	case idle, head:
		_ = n.conn.SetReadDeadline(past)
	case asked:
		n.abort(&balance.Refusal{Status: http.StatusGatewayTimeout, Message: "the instance did not begin to answer in time"})
	case passing:
		n.abort(slowClient)
		_ = n.conn.SetDeadline(past)
	}
}

// lastCall lets a session without a request end soon. A request that is on its
// way at this moment is still answered.
func (n *session) lastCall() {
	n.watch.mu.Lock() // not in between when a request has come
	defer n.watch.mu.Unlock()
	if phase(n.watch.phase.Load()) == idle {
		_ = n.conn.SetReadDeadline(time.Now().Add(2 * tick))
	}
}

// cut ends a session at once.
func (n *session) cut() {
	n.abort(&balance.Refusal{Status: http.StatusServiceUnavailable, Message: "the gateway stops"})
	_ = n.conn.SetDeadline(past)
}

var (
	slowClient = &balance.Refusal{Status: http.StatusRequestTimeout, Message: "the client was too slow"}
	clientGone = &balance.Refusal{Status: balance.StatusClientGone, Message: "the client left"}
)
