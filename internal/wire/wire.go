// Package wire is the protocol between the shim on the host and redoubt-guest
// in the virtual machine. It is the only package that both sides import.
//
// The two share one reliable stream of bytes: a virtio-serial port, which
// every host has. Once started, the guest says which version it speaks (see
// Announce) and waits, idle; a virtual machine may be copied in that state.
// The host's greeting begins the session: from then on the stream carries many
// independent ones (yamux), all opened by the host. Each begins with one call:
// a method and its request, answered by a result or an error. Some methods
// then keep their stream: a process's output, a forwarded connection.
//
// Both sides are built together and speak exactly one version, so messages
// have no field numbers and no optional parts. Every length is checked against
// a limit before memory is taken for it. The host believes nothing the guest
// says: no path, size or name from the guest is used for anything but to be
// shown.
//
// docs/reference/wire.md describes the bytes.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// Version is the protocol's. It changes with every change of a message.
const Version = 6

// Port is the virtio-serial port's name, which the guest finds it by.
const Port = "redoubt.agent"

// Limits of one message, in bytes.
const (
	// MaxRequest covers the largest content that a volume may have.
	MaxRequest = 16 << 20
	// MaxReply is small because the host takes memory for it.
	MaxReply = 1 << 20
	// maxText is the kernel's limit of one argument (MAX_ARG_STRLEN).
	maxText = 128 << 10
	// maxItems limits each list in a message.
	maxItems = 32 << 10
)

var (
	announcement = []byte{'r', 'e', 'd', 'o', 'u', 'b', 't', Version}
	greeting     = []byte{'h', 'e', 'l', 'l', 'o', Version, '\r', '\n'}
)

// ErrVersion says that the two sides were not built together.
var ErrVersion = errors.New("the guest image and the shim are of different releases; install both from one release")

// Announce says to the host that the guest is ready to be greeted.
func Announce(w io.Writer) error {
	_, err := w.Write(announcement)
	return err
}

// AwaitGuest reads the guest's announcement. What a console or firmware wrote
// before it is skipped, up to 64 KiB.
func AwaitGuest(r io.Reader) error {
	name := announcement[:len(announcement)-1]
	window := make([]byte, 0, len(announcement))
	var one [1]byte
	for range 64 << 10 {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return fmt.Errorf("wait for the guest: %w", err)
		}
		if len(window) == cap(window) {
			window = append(window[:0], window[1:]...)
		}
		window = append(window, one[0])
		if len(window) == cap(window) && bytes.HasPrefix(window, name) {
			if window[len(name)] != Version {
				return ErrVersion
			}
			return nil
		}
	}
	return errors.New("wait for the guest: it says something else than its name")
}

// Host greets the guest and begins the session, whose end closes conn.
func Host(conn io.ReadWriteCloser) (*Session, error) { return host(conn, endLimit) }

// endLimit is how long the guest may take to end its direction of a stream after
// the host has ended its own. Then the host gives the stream up and resets it:
// what the guest still sends is for nobody, and would wait for room for ever.
const endLimit = time.Minute

func host(conn io.ReadWriteCloser, limit time.Duration) (*Session, error) {
	if _, err := conn.Write(greeting); err != nil {
		return nil, fmt.Errorf("greet the guest: %w", err)
	}
	c := config()
	c.StreamCloseTimeout = limit
	mux, err := yamux.Client(&frames{ReadWriteCloser: conn}, c)
	if err != nil {
		return nil, fmt.Errorf("begin the session: %w", err)
	}
	return &Session{mux: mux}, nil
}

// Session is the host's end.
type Session struct {
	mux *yamux.Session
	// held is how many streams the host has not closed.
	held atomic.Int64
}

// Close ends the session and all of its streams.
func (s *Session) Close() error { return s.mux.Close() }

// Done is closed when the session has ended, whoever ended it.
func (s *Session) Done() <-chan struct{} { return s.mux.CloseChan() }

// AwaitGreeting blocks in the guest until the host greets.
func AwaitGreeting(r io.Reader) error {
	var got [8]byte
	if _, err := io.ReadFull(r, got[:]); err != nil {
		return fmt.Errorf("wait for the host: %w", err)
	}
	if !bytes.Equal(got[:], greeting) {
		return ErrVersion
	}
	return nil
}

// config never gives up on a peer that does not answer: a frozen virtual
// machine answers as soon as it is thawed, and a dead one closes the stream.
func config() *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          64,
		KeepAliveInterval:      time.Duration(math.MaxInt64),
		ConnectionWriteTimeout: 10 * 365 * 24 * time.Hour,
		MaxStreamWindowSize:    256 << 10,
		Logger:                 log.New(io.Discard, "", 0),
	}
}
