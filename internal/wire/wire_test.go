package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/yamux"
)

func TestMessagesSurvive(t *testing.T) {
	for _, want := range []message{
		&Ref{ID: "a", Exec: "b"},
		&Exit{Status: 137, At: -5, OOMKilled: true},
		&Sandbox{Hostname: "pod", Entropy: []byte{1, 2}, Links: []Link{{Name: "eth0", MAC: []byte{2, 0, 0, 0, 0, 1}, MTU: 1500, Addresses: []string{"198.18.0.2/32"}, Routes: []Route{{Gateway: "198.18.0.1", OnLink: true}}}}},
		&Container{ID: "c", Root: Root{Layers: []uint32{3, 4}, Size: 1 << 30}, Process: Process{Args: []string{"sh"}, OOMScore: -3, Seccomp: make([]byte, 16)}, Mounts: []Mount{{Target: "/proc", Type: "proc", Flags: 14}}, Limits: Limits{Memory: 1 << 40}},
		&Volume{ID: "v", Kind: Copy, Entries: []Entry{{Path: "f", Kind: File, Data: []byte("text")}}},
		&Usage{Memory: 1<<64 - 1, Links: []LinkUsage{{Name: "eth0", RxBytes: 4}}},
	} {
		data, err := encode(want)
		if err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)
		if err := decode(data, got); err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%T came back as %+v, want %+v", want, got, want)
		}
		if err := decode(append(data, 0), reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)); !errors.Is(err, errLong) {
			t.Errorf("%T with a byte too many: %v", want, err)
		}
	}
}

func TestLimits(t *testing.T) {
	if _, err := encode(&Ref{ID: strings.Repeat("x", maxText+1)}); err == nil {
		t.Error("a text over the limit was written")
	}
	if _, err := encode(&PIDs{List: make([]uint32, maxItems+1)}); err == nil {
		t.Error("a list over the limit was written")
	}
	// A list that says it has many items and holds none.
	if err := decode([]byte{0xff, 0xff, 0x01}, &PIDs{}); !errors.Is(err, errShort) {
		t.Errorf("false count: %v, want %v", err, errShort)
	}
	frame := []byte{ok, 0xff, 0xff, 0xff, 0xff}
	if _, _, err := receive(bytes.NewReader(frame), MaxReply); err == nil {
		t.Error("an answer over the limit was read")
	}
}

// session joins a host and a guest that answers with handlers.
func session(t *testing.T, handlers map[Method]Handler) *Session {
	t.Helper()
	return impatient(t, endLimit, handlers)
}

// impatient is a session whose host gives up streams after limit.
func impatient(t *testing.T, limit time.Duration, handlers map[Method]Handler) *Session {
	t.Helper()
	here, there := net.Pipe()
	go func() {
		if err := errors.Join(Announce(there), AwaitGreeting(there)); err != nil {
			t.Error(err)
			return
		}
		_ = Serve(there, handlers)
	}()
	if err := AwaitGuest(here); err != nil {
		t.Fatal(err)
	}
	s, err := host(here, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestCall(t *testing.T) {
	s := session(t, map[Method]Handler{
		Start: Handle(func(r *Ref) (*Started, error) {
			if r.ID != "c" {
				return nil, errdefs.ErrNotFound
			}
			return &Started{PID: 7}, nil
		}),
	})
	var started Started
	if err := s.Call(t.Context(), Start, &Ref{ID: "c"}, &started); err != nil || started.PID != 7 {
		t.Errorf("start: %v, %v", started, err)
	}
	if err := s.Call(t.Context(), Start, &Ref{ID: "d"}, &started); !errdefs.IsNotFound(err) {
		t.Errorf("start of an unknown container: %v", err)
	}
	if err := s.Call(t.Context(), Freeze, &Ref{}, &Empty{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("unknown method: %v", err)
	}
}

func TestCallEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := session(t, map[Method]Handler{
		Wait: Handle(func(*Ref) (*Exit, error) {
			cancel()
			<-t.Context().Done()
			return &Exit{}, nil
		}),
	})
	if err := s.Call(ctx, Wait, &Ref{}, &Exit{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestStreamHalfCloses(t *testing.T) {
	s := session(t, map[Method]Handler{
		Forward: HandleStream(func(*Address) (func(Stream), error) {
			return func(s Stream) {
				data, _ := io.ReadAll(s)
				_, _ = s.Write(bytes.ToUpper(data))
			}, nil
		}),
	})
	stream, err := s.Open(t.Context(), Forward, &Address{Port: 80}, &Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(stream); err != nil || string(data) != "TEXT" {
		t.Errorf("got %q, %v", data, err)
	}
}

// A guest may not make the host hold what nothing limits.
func TestGuestsThatFlood(t *testing.T) {
	for name, flood := range map[string]func(*yamux.Session) error{
		"a ping":   func(s *yamux.Session) error { _, err := s.Ping(); return err },
		"a stream": func(s *yamux.Session) error { _, err := s.OpenStream(); return err },
	} {
		t.Run(name, func(t *testing.T) {
			host, guest := net.Pipe()
			go func() {
				if AwaitGreeting(guest) != nil {
					return
				}
				// The session's end ends the flood, which has no answer.
				s, err := yamux.Server(guest, config())
				if err == nil {
					_ = flood(s)
				}
			}()
			s, err := Host(host)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			select {
			case <-s.Done():
			case <-time.After(time.Minute):
				t.Fatal("the session goes on")
			}
		})
	}
}

// Frames are followed however they come in pieces.
func TestFramesInPieces(t *testing.T) {
	frame := func(kind, flags byte, length uint32, data string) []byte {
		header := []byte{0, kind, 0, flags, 0, 0, 0, 1}
		return append(binary.BigEndian.AppendUint32(header, length), data...)
	}
	good := slices.Concat(frame(0, 0, 3, "\x00\x02\x00"), frame(1, 2, 9, ""), frame(0, 4, 0, ""))
	for _, tc := range []struct {
		last []byte
		want error
	}{{nil, nil}, {frame(2, 1, 0, ""), errPing}, {frame(1, 1, 0, ""), errOpened}} {
		for size := 1; size < 14; size++ {
			f := &frames{}
			var err error
			for piece := range slices.Chunk(slices.Concat(good, tc.last), size) {
				err = errors.Join(err, f.follow(piece))
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("in pieces of %d: %v, want %v", size, err, tc.want)
			}
		}
	}
}

// A guest that leaves its ends of streams open ends with its session.
func TestGuestLeavesStreamsOpen(t *testing.T) {
	s := session(t, map[Method]Handler{Configure: HandleStream(func(*Empty) (func(Stream), error) {
		return func(Stream) { select {} }, nil
	})})
	for range 2 * maxStreams {
		if err := s.Call(t.Context(), Configure, &Empty{}, &Empty{}); err != nil {
			<-s.Done()
			return
		}
	}
	t.Error("the session goes on")
}

// What the host itself keeps open is not the guest's fault.
func TestHostHoldsStreams(t *testing.T) {
	s := session(t, map[Method]Handler{Forward: HandleStream(func(*Address) (func(Stream), error) {
		return func(s Stream) { _, _ = io.Copy(io.Discard, s) }, nil
	})})
	for range maxStreams + 8 {
		stream, err := s.Open(t.Context(), Forward, &Address{Port: 80}, &Empty{})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		defer stream.Close() // counts once
	}
	if got := s.held.Load(); got != maxStreams+8 {
		t.Errorf("%d streams are held, want %d", got, maxStreams+8)
	}
	if err := s.Call(t.Context(), Freeze, &Ref{}, &Empty{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("call of an unknown method: %v", err)
	}
	if got := s.held.Load(); got != maxStreams+8 {
		t.Errorf("%d streams are held after a call, want %d", got, maxStreams+8)
	}
}

// An honest guest that is sending when the host loses interest learns of it, and
// neither side keeps the stream.
func TestStreamIsGivenUp(t *testing.T) {
	ended := make(chan error, 1)
	s := impatient(t, time.Millisecond, map[Method]Handler{Forward: HandleStream(func(*Address) (func(Stream), error) {
		return func(s Stream) {
			_, err := s.Write(make([]byte, 4<<20)) // more than there is room for
			ended <- err
		}, nil
	})})
	stream, err := s.Open(t.Context(), Forward, &Address{Port: 80}, &Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, yamux.ErrConnectionReset) {
			t.Errorf("the guest's writing ends with %v, want %v", err, yamux.ErrConnectionReset)
		}
	case <-time.After(time.Minute):
		t.Fatal("the guest waits for a host that has closed the stream")
	}
	if got := s.mux.NumStreams(); got != 0 {
		t.Errorf("%d streams are left", got)
	}
	select {
	case <-s.Done():
		t.Error("the session has ended with the stream")
	default:
	}
}

func TestAnnouncement(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("firmware says hello\r\nredredoub")
	_ = Announce(&b)
	if err := AwaitGuest(&b); err != nil {
		t.Errorf("after noise: %v", err)
	}
	if err := AwaitGuest(strings.NewReader("redoubt\xfe")); !errors.Is(err, ErrVersion) {
		t.Errorf("other version: %v", err)
	}
	if err := AwaitGreeting(strings.NewReader("hello\xfe\r\n")); !errors.Is(err, ErrVersion) {
		t.Errorf("other host version: %v", err)
	}
}

func TestErrorTextIsPrintable(t *testing.T) {
	if got := printable([]byte("a\x1b[31m\nb\xff"), 6); got != "a?[31m" {
		t.Errorf("got %q", got)
	}
}
