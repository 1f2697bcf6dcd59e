package front

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/http1"
	"redoubt.dev/redoubt/internal/gateway/stream"
	"redoubt.dev/redoubt/internal/gateway/table"
)

// session is one client connection.
type session struct {
	server   *Server
	conn     *stream.Conn
	public   bool
	peer     netip.Addr
	peerText string
	watch    watch
	gone     chan struct{} // closed when nobody waits for the answer any more

	// The last Host header and what it means: clients rarely change it.
	rawHost []byte
	host    string
}

// verdict is what becomes of a connection after a request.
type verdict int

const (
	keep     verdict = iota // it serves the next one
	end                     // it is closed
	linger                  // it is closed after the client has read the answer
	abandon                 // it is closed so that the client sees a fault
	handOver                // another server has it
	secure                  // it speaks TLS, which another server does
)

// serve answers requests until the connection ends.
func (n *session) serve() {
	defer n.server.remove(n)
	for {
		headLength, err := n.readHead()
		after := end
		switch {
		case errors.Is(err, errTLS):
			after = secure
		case err != nil:
			after = n.refuseHead(err)
		case n.speaksHTTP2():
			after = handOver
		default:
			after = n.exchange(headLength)
		}
		switch after {
		case keep:
			continue
		case handOver:
			n.handOver(n.server.Other)
			return
		case secure:
			n.handOver(n.server.Secure)
			return
		case linger:
			n.linger()
		case abandon:
			n.reset()
		}
		_ = n.conn.Close()
		return
	}
}

// readHead waits for a request and returns the length of its head.
func (n *session) readHead() (int, error) {
	n.enter(idle, idleTimeout)
	if n.server.draining.Load() { // set before all sessions got their last call
		n.lastCall()
	}
	for scanned := 0; ; {
		if n.speaksTLS() {
			return 0, errTLS
		}
		length, err := http1.RequestHead(n.conn.Buffered(), &scanned)
		if err != nil {
			return 0, err
		}
		if length > 0 {
			n.begun()
			return length, nil
		}
		if len(n.conn.Buffered()) == 0 {
			n.conn.Release()
		} else if phase(n.watch.phase.Load()) == idle {
			n.enter(head, headTimeout)
		}
		if err := n.conn.Fill(); err != nil {
			return 0, err
		}
	}
}

// begun notes that a request has come, for which a server waits that drains.
func (n *session) begun() {
	n.enter(head, 0)
	if n.server.draining.Load() { // else nobody has said the last call
		n.onward(head, 0)
	}
}

// refuseHead answers what is not a request.
func (n *session) refuseHead(err error) verdict {
	var fault *http1.Error
	switch {
	case errors.As(err, &fault):
	case errors.Is(err, stream.ErrFull):
		fault = http1.ErrTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded) && len(n.conn.Buffered()) > 0:
		fault = &http1.Error{Status: slowClient.Status, Message: slowClient.Message}
	default:
		return end
	}
	x := n.begin()
	defer x.finish()
	return x.refuse(&balance.Refusal{Status: fault.Status, Message: fault.Message})
}

var preface = []byte("PRI * HTTP/2.0\r\n\r\n")

// speaksHTTP2 says that the client began with HTTP/2's preface.
func (n *session) speaksHTTP2() bool { return bytes.HasPrefix(n.conn.Buffered(), preface) }

var errTLS = errors.New("the client speaks TLS")

// speaksTLS says that the client began with a record of a TLS handshake (RFC
// 8446, section 5.1), which no request begins with.
func (n *session) speaksTLS() bool {
	const handshake = 22
	read := n.conn.Buffered()
	return n.server.Secure != nil && len(read) > 0 && read[0] == handshake
}

// handOver gives the connection and what was read of it to another server.
func (n *session) handOver(to func(c net.Conn, public bool)) {
	read := bytes.Clone(n.conn.Buffered())
	n.conn.Discard(len(read))
	n.conn.Release()
	n.onward(joined, 0)
	to(&replayed{n.conn.Conn, read}, n.public)
}

// replayed is a connection of which something was read.
type replayed struct {
	net.Conn
	read []byte
}

// NetConn is the connection itself.
func (r *replayed) NetConn() net.Conn { return r.Conn }

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.read) > 0 {
		n := copy(b, r.read)
		r.read = r.read[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}

// linger reads on for a moment: closing a connection with unread bytes resets
// it, and may take the answer away from the client. However much a client sends
// in that time: one that is quick would be reset the sooner.
func (n *session) linger() {
	const pause = 500 * time.Millisecond
	if c, ok := n.conn.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = n.conn.SetReadDeadline(time.Now().Add(pause))
	_, _ = io.Copy(io.Discard, n.conn.Conn)
}

// reset makes the end of the connection an error for the client.
func (n *session) reset() {
	if c, ok := n.conn.Conn.(interface{ NetConn() net.Conn }); ok {
		_ = c.NetConn().Close() // without TLS's own word of an end
		return
	}
	if c, ok := n.conn.Conn.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
	}
}

// query says where the request is for.
func (n *session) query(req *http1.Request) table.Query {
	if !bytes.Equal(req.Host, n.rawHost) {
		n.rawHost = append(n.rawHost[:0], req.Host...)
		n.host = table.HostName(string(req.Host))
	}
	path, _, _ := bytes.Cut(req.Target, question)
	return table.Query{Host: n.host, Path: path, Tag: string(req.Tag), Public: n.public, Client: n.peer}
}

var question = []byte{'?'}
