package front

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/stream"
	"redoubt.dev/redoubt/internal/gateway/upstream"
)

// pair is the two ends of a connection.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// A request that comes while the server drains has the time for its body that any
// other has, whether the last call was before or after its head.
func TestLastCallLeavesTimeForABody(t *testing.T) {
	s := NewServer(Options{})
	defer s.Close()
	near, far := pair(t)
	n := &session{server: s, conn: stream.New(near), gone: make(chan struct{})}
	s.draining.Store(true)
	if _, err := io.WriteString(far, "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 4\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	length, err := n.readHead()
	if err != nil {
		t.Fatal(err)
	}
	n.conn.Discard(length)
	n.lastCall()
	time.AfterFunc(5*tick, func() { _, _ = io.WriteString(far, "body") })
	if err := n.conn.Fill(); err != nil || string(n.conn.Buffered()) != "body" {
		t.Errorf("the body: %q, %v", n.conn.Buffered(), err)
	}
	// The control: without a request it has to go.
	n.conn.Discard(len("body"))
	if _, err := n.readHead(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("without a request: %v", err)
	}
}

// An exchange that is ended while it has no connection to an instance does not go
// on with the next one.
func TestEndedExchangeGetsNoConnection(t *testing.T) {
	s := NewServer(Options{})
	defer s.Close()
	near, _ := pair(t)
	n := &session{server: s, gone: make(chan struct{})}
	n.enter(asked, 0)
	n.abort(&balance.Refusal{Message: "the gateway stops"})
	up := &upstream.Conn{Conn: stream.New(near)}
	time.AfterFunc(20*time.Second, func() { _ = near.Close() })
	if n.use(up); !errors.Is(up.Fill(), os.ErrDeadlineExceeded) {
		t.Error("the connection goes on")
	}
}

// eager is a client that sends so much at once, and is done then.
type eager struct {
	net.Conn
	left int
}

func (e *eager) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.left)
	e.left -= n
	return n, nil
}

func (*eager) SetReadDeadline(time.Time) error { return nil }

// Who is answered before he has sent everything reads the answer, however much
// that is: a connection that is closed with something unread is reset.
func TestLingersForAllThatComes(t *testing.T) {
	client := &eager{left: 64 << 20}
	n := &session{conn: stream.New(client)}
	if n.linger(); client.left > 0 {
		t.Errorf("%d bytes were not read", client.left)
	}
}
