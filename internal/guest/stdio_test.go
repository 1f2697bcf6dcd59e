package guest

import (
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// direction is a stream of which one direction is looked at.
type direction struct {
	net.Conn
	closed chan struct{}
}

func (d direction) CloseWrite() error {
	close(d.closed)
	return nil
}

// TestInputIsNotCutOff: the host gives up a stream that the guest does not end in
// time, which is no fault of a process that reads its input slowly.
func TestInputIsNotCutOff(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	serve, err := (&stdio{in: w}).receive()
	if err != nil {
		t.Fatal(err)
	}
	host, guest := net.Pipe()
	stream := direction{guest, make(chan struct{})}
	go serve(stream)
	select {
	case <-stream.closed:
	case <-time.After(time.Minute):
		t.Fatal("the guest's direction is open while input comes")
	}
	if _, err := host.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	host.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
}
