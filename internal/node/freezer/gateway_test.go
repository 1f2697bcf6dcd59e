package freezer

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is a listener whose tries to accept end as told.
type scripted struct {
	net.Listener
	ends chan func() (net.Conn, error)
}

func (s *scripted) Accept() (net.Conn, error) { return (<-s.ends)() }
func (s *scripted) Close() error              { return nil }

// TestServeOutlivesAFailedAccept: one that fails is tried again; where no other
// can come, the freezer does not stay for those that it has.
func TestServeOutlivesAFailedAccept(t *testing.T) {
	l := &scripted{ends: make(chan func() (net.Conn, error), 3)}
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	here, there := net.Pipe()
	defer there.Close()
	client := tls.Client(there, &tls.Config{InsecureSkipVerify: true})
	connected := make(chan error, 1)
	go func() {
		connected <- client.Handshake()
		_, _ = io.Copy(io.Discard, client)
	}()
	f := &Freezer{gateways: map[*gateway]struct{}{}, pods: map[string]*pod{}}
	l.ends <- func() (net.Conn, error) { return nil, errors.New("too many open files") }
	l.ends <- func() (net.Conn, error) { return tls.Server(here, server.TLS), nil }
	l.ends <- func() (net.Conn, error) { return nil, errors.Join(net.ErrClosed, <-connected) }
	served := make(chan error, 1)
	go func() { served <- f.Serve(t.Context(), l) }()
	select {
	case err := <-served:
		if !errors.Is(err, net.ErrClosed) || len(l.ends) > 0 {
			t.Errorf("it ended with %d tries left: %v", len(l.ends), err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on although nobody can connect to it")
	}
}

// late knows a pod from some time on.
type late struct {
	nobody
	known atomic.Bool
}

func (l *late) Instance(string) bool { return l.known.Load() }

// TestReleasedBeforeKnown is a gateway's release of a pod that the API server
// has not told of yet.
func TestReleasedBeforeKnown(t *testing.T) {
	const uid = "01234567-89ab-cdef-0123-456789abcdef"
	pods := &late{}
	f := &Freezer{groups: hierarchy{dir: t.TempDir(), v1: true}, known: pods, gateways: map[*gateway]struct{}{}, pods: map[string]*pod{}}
	if err := os.Mkdir(filepath.Join(f.groups.dir, "pod"+uid), 0o755); err != nil {
		t.Fatal(err)
	}
	g := f.connect()
	g.released[uid] = true
	if err := f.freeze(t.Context(), uid); !errors.Is(err, errNotInstance) {
		t.Fatalf("the control: a pod that is not known: %v", err)
	}
	pods.known.Store(true)
	f.Known(t.Context(), uid)
	for deadline := time.Now().Add(30 * time.Second); !f.Frozen(uid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a pod that was released before it was known is never frozen")
		}
	}
}
