package portforward

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestPlaces: what has no place is refused, and what ends leaves one.
func TestPlaces(t *testing.T) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const greeting, ended = 1, 0
	go func() {
		_ = serve(listener, func(conn *net.TCPConn) {
			defer conn.Close()
			_, _ = conn.Write([]byte{greeting})
			_, _ = conn.Read(make([]byte, 1)) // until the client leaves
		})
	}()
	// dial connects and says how many bytes came of the greeting.
	dial := func() (net.Conn, int) {
		t.Helper()
		conn, err := net.Dial("tcp4", listener.Addr().String())
		if err != nil {
			return nil, ended // reset before it is seen to be there
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		n, _ := conn.Read(make([]byte, 1))
		return conn, n
	}
	var last net.Conn
	for i := range maxConnections {
		n := 0
		if last, n = dial(); n == ended {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if _, n := dial(); n != ended {
		t.Error("a connection without a place is handled")
	}
	last.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, n := dial(); n != ended {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a connection that has ended is not given again")
		}
	}
}

// TestClientLeaves: the guest can send all that it has to a client that is gone.
func TestClientLeaves(t *testing.T) {
	client, conn := connected(t)
	guest, stream := connected(t)
	sent := make(chan error, 1)
	go func() {
		_, err := guest.Write(make([]byte, 64<<20)) // more than there is room for
		_ = guest.CloseWrite()
		sent <- err
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		carry(conn, stream)
		_ = stream.Close()
	}()
	if _, err := io.ReadFull(client, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	refuse(client)
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the connection is carried on")
	}
	if err := <-sent; err != nil {
		t.Errorf("the guest could not send all: %v", err)
	}
}

// connected are the ends of a connection.
func connected(t *testing.T) (one, other *net.TCPConn) {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if one, err = net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if other, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*net.TCPConn{one, other} {
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
	}
	return one, other
}
