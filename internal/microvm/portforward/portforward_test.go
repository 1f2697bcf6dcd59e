package portforward

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestPlaces: what has no place waits for one that ends.
func TestPlaces(t *testing.T) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	begun := make(chan *net.TCPConn, maxConnections+1)
	go func() {
		_ = serve(listener, func(conn *net.TCPConn) {
			defer conn.Close()
			begun <- conn
			_, _ = conn.Read(make([]byte, 1)) // until the client leaves
		})
	}()
	var clients []net.Conn
	for range maxConnections + 1 {
		conn, err := net.Dial("tcp4", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		clients = append(clients, conn)
	}
	next := func() {
		t.Helper()
		select {
		case <-begun:
		case <-time.After(time.Minute):
			t.Fatal("a connection is not handled, though there is a place")
		}
	}
	for range maxConnections {
		next()
	}
	select {
	case <-begun:
		t.Fatal("a connection without a place is handled")
	case <-time.After(50 * time.Millisecond):
	}
	clients[0].Close()
	next()
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
	_ = client.SetLinger(0)
	_ = client.Close()
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
