package gateway

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/gateway/proxy"
)

const (
	// headerTimeout is how long a client may take to send a request's head.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection may stay open without a request.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds a request's head, in bytes.
	maxHeader = 64 << 10
	// maxStreams bounds the requests that one connection has open at a time.
	maxStreams = 250
)

// newHTTP2Server serves the connections that package front hands over: those
// that speak HTTP/2, and those with a request for an instance that does.
func newHTTP2Server(handler http.Handler) *http.Server {
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// A line for whatever a client does wrong is a log that clients fill.
		ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			h := c.(handed)
			return proxy.WithClient(ctx, h.public, h.scheme)
		},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// handed is a connection that was handed over.
type handed struct {
	net.Conn
	public bool
	scheme string // http or https
}

// handedOver is the listener that such connections come from.
type handedOver struct {
	conns  chan handed
	closed chan struct{}
	once   sync.Once
}

func newHandedOver() *handedOver {
	return &handedOver{conns: make(chan handed), closed: make(chan struct{})}
}

// give returns what passes connections to whoever accepts.
func (h *handedOver) give(scheme string) func(c net.Conn, public bool) {
	return func(c net.Conn, public bool) {
		select {
		case h.conns <- handed{c, public, scheme}:
		case <-h.closed:
			_ = c.Close()
		}
	}
}

func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is of no use here, but a listener has one.
func (h *handedOver) Addr() net.Addr { return &net.TCPAddr{} }
