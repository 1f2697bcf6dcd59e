package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/yamux"
)

// A call's first byte is its method, an answer's first byte its outcome; four
// bytes of length, most significant first, and the message follow.
const headerSize = 5

// Outcomes of a call.
const (
	ok byte = iota
	failed
	notFound
	alreadyExists
	failedPrecondition
	invalidArgument
	unavailable
)

// kinds are the errors that keep their meaning across the wire.
var kinds = map[byte]error{
	notFound:           errdefs.ErrNotFound,
	alreadyExists:      errdefs.ErrAlreadyExists,
	failedPrecondition: errdefs.ErrFailedPrecondition,
	invalidArgument:    errdefs.ErrInvalidArgument,
	unavailable:        errdefs.ErrUnavailable,
}

// maxStreams is how many streams that the host has closed a guest may leave open
// at its end: each holds up to 256 KiB of the host's memory. What the host holds
// itself is for those to limit who open it.
const maxStreams = 512

// maxErrorText is what the host shows of a guest's error, in bytes.
const maxErrorText = 4 << 10

// Call asks the guest and reads its answer into reply, a zero message. It ends
// with ctx; the guest is not told and finishes what it began.
func (s *Session) Call(ctx context.Context, m Method, request, reply message) error {
	stream, err := s.Open(ctx, m, request, reply)
	if err != nil {
		return err
	}
	return stream.Close()
}

// Open is Call, but keeps the stream, which then carries what the method's
// comment says. The caller closes it.
func (s *Session) Open(ctx context.Context, m Method, request, reply message) (Stream, error) {
	body, err := encode(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", m, errdefs.ErrInvalidArgument, err)
	}
	if len(body) > MaxRequest {
		return nil, fmt.Errorf("%s: %w: request of %d bytes: the limit is %d", m, errdefs.ErrInvalidArgument, len(body), MaxRequest)
	}
	if s.mux.NumStreams()-int(s.held.Load()) >= maxStreams {
		_ = s.Close()
		return nil, fmt.Errorf("%s: %w: the guest has left %d streams open", m, errdefs.ErrUnavailable, maxStreams)
	}
	mux, err := s.mux.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", m, errdefs.ErrUnavailable, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = mux.SetDeadline(time.Unix(0, 1)) })
	s.held.Add(1)
	release := sync.OnceFunc(func() { s.held.Add(-1) })
	stream := &stream{Stream: mux, reader: bufio.NewReaderSize(mux, 4<<10), release: release}
	err = stream.exchange(byte(m), body, reply)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = stream.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w", m, err)
	}
	return stream, nil
}

// Stream is a connection that can be closed for writing alone.
type Stream interface {
	net.Conn
	// CloseWrite tells the peer that nothing more comes; what it sends can
	// still be read, on the host for endLimit.
	CloseWrite() error
}

// stream keeps what was read beyond the answer.
type stream struct {
	*yamux.Stream
	reader  *bufio.Reader
	release func() // the stream is the host's no more
}

func (s *stream) Read(p []byte) (int, error) { return s.reader.Read(p) }

func (s *stream) Close() error {
	defer s.release()
	return s.Stream.Close()
}

// CloseWrite is what yamux's Close does: it ends one direction.
func (s *stream) CloseWrite() error { return s.Stream.Close() }

func (s *stream) exchange(method byte, body []byte, reply message) error {
	if err := send(s.Stream, method, body); err != nil {
		return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
	}
	outcome, answer, err := receive(s.reader, MaxReply)
	if err != nil {
		return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
	}
	if outcome == ok {
		return decode(answer, reply)
	}
	text := printable(answer, maxErrorText)
	if kind, known := kinds[outcome]; known {
		return &remoteError{text, kind}
	}
	return &remoteError{text, errdefs.ErrUnknown}
}

// remoteError is an error of the guest with its words alone.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func send(w io.Writer, first byte, body []byte) error {
	frame := make([]byte, headerSize, headerSize+len(body))
	frame[0] = first
	binary.BigEndian.PutUint32(frame[1:], uint32(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

func receive(r io.Reader, limit uint32) (first byte, body []byte, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[1:])
	if size > limit {
		return 0, nil, fmt.Errorf("message of %d bytes: the limit is %d", size, limit)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r, body)
	return header[0], body, err
}

// printable is text from the guest made safe to log: ASCII without control
// characters, at most limit bytes.
func printable(text []byte, limit int) string {
	out := make([]byte, 0, min(len(text), limit))
	for _, b := range text {
		if len(out) == limit {
			break
		}
		if b < ' ' || b > '~' {
			b = '?'
		}
		out = append(out, b)
	}
	return string(out)
}

// outcome is err's place in kinds.
func outcome(err error) byte {
	for code, kind := range kinds {
		if errors.Is(err, kind) {
			return code
		}
	}
	return failed
}
