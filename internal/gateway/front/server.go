// Package front speaks HTTP/1.1 with clients and with instances.
//
// It exists beside net/http for two reasons. It has one strict parser
// (package http1) for both sides, and passes a message's bytes on only when
// they can be read in one way. And it does little per request: a goroutine per
// client connection, buffers that are held only while there is something in
// them, bodies that go from one connection to the other without being copied,
// and one watchdog for all deadlines. Connections that speak HTTP/2, and
// requests for instances that do, are handed to another server.
package front

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"redoubt.dev/redoubt/internal/gateway/accesslog"
	"redoubt.dev/redoubt/internal/gateway/stream"
	"redoubt.dev/redoubt/internal/gateway/table"
	"redoubt.dev/redoubt/internal/gateway/trace"
)

// Options say what a server works with.
type Options struct {
	Table *table.Table
	Log   *accesslog.Log // nil writes none
	// Tracer records what requests wait for; nil records nothing.
	Tracer *trace.Tracer
	// Other serves a connection that this package does not; it may be read
	// from its first byte on, and is Other's to close.
	Other func(c net.Conn, public bool)
	// Secure is as Other for a connection whose client speaks TLS; nil refuses
	// it.
	Secure func(c net.Conn, public bool)
	// Scheme is what clients speak, http or https.
	Scheme string
}

// Server serves connections until it is drained.
type Server struct {
	Options
	clock    clock
	draining atomic.Bool

	mu       sync.Mutex
	sessions map[*session]struct{} // guarded by mu
	idle     sync.WaitGroup        // counts sessions
}

// NewServer returns a server. Close ends its watchdog.
func NewServer(opts Options) *Server {
	s := &Server{Options: opts, sessions: map[*session]struct{}{}}
	s.clock.start(s.sweep)
	return s
}

// Serve serves the connections of l until it is closed. Public says that l is
// outside the cluster.
func (s *Server) Serve(l net.Listener, public bool) error {
	for {
		c, err := l.Accept()
		if err == nil {
			s.ServeConn(c, public)
			continue
		}
		if temporary, ok := err.(interface{ Temporary() bool }); !ok || !temporary.Temporary() {
			return err
		}
		time.Sleep(tick) // out of file descriptors, most likely
	}
}

// ServeConn serves one connection in a goroutine of its own.
func (s *Server) ServeConn(c net.Conn, public bool) {
	peer, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	n := &session{
		server: s, conn: stream.New(c), public: public,
		peer: peer.Addr().Unmap(), gone: make(chan struct{}),
	}
	n.peerText = n.peer.String()
	s.idle.Add(1)
	s.mu.Lock()
	s.sessions[n] = struct{}{}
	s.mu.Unlock()
	go n.serve()
}

func (s *Server) remove(n *session) {
	s.mu.Lock()
	delete(s.sessions, n)
	s.mu.Unlock()
	s.idle.Done()
}

func (s *Server) each(do func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.sessions {
		do(n)
	}
}

// LastCall begins what Drain does, and does not wait.
func (s *Server) LastCall() {
	s.draining.Store(true)
	s.each(func(n *session) { n.lastCall() })
}

// Drain lets open requests end and closes connections without one. When ctx
// ends first, it closes all. The listeners must be closed before.
func (s *Server) Drain(ctx context.Context) error {
	s.LastCall()
	done := make(chan struct{})
	go func() { s.idle.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.each(func(n *session) { n.cut() })
	<-done
	return ctx.Err()
}

// Close ends the watchdog. No connection may be open any more.
func (s *Server) Close() { s.clock.stop() }
