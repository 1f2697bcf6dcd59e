package portforward

import (
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
