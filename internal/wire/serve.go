package wire

import (
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/yamux"
)

// Handler answers one method in the guest. It returns the reply and, for a
// method that keeps its stream, what to do with it afterwards.
type Handler func(request []byte) (message, func(Stream), error)

// Handle makes a Handler of a function for a method without a stream.
func Handle[Q, R any, QM interface {
	*Q
	message
}, RM interface {
	*R
	message
}](f func(QM) (RM, error)) Handler {
	return func(body []byte) (message, func(Stream), error) {
		request := QM(new(Q))
		if err := decode(body, request); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
		}
		reply, err := f(request)
		if err != nil {
			return nil, nil, err
		}
		return reply, nil, nil
	}
}

// HandleStream makes a Handler of a function for a method that keeps its
// stream: f's result serves it and returns when it is done with it.
func HandleStream[Q any, QM interface {
	*Q
	message
}](f func(QM) (func(Stream), error)) Handler {
	return func(body []byte) (message, func(Stream), error) {
		request := QM(new(Q))
		if err := decode(body, request); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
		}
		serve, err := f(request)
		return &Empty{}, serve, err
	}
}

// Serve answers the host's calls over conn, after AwaitGreeting, until conn
// ends.
func Serve(conn io.ReadWriteCloser, handlers map[Method]Handler) error {
	mux, err := yamux.Server(conn, config())
	if err != nil {
		return fmt.Errorf("begin the session: %w", err)
	}
	defer mux.Close()
	for {
		s, err := mux.AcceptStream()
		if err != nil {
			return fmt.Errorf("session with the host: %w", err)
		}
		go serve(s, handlers)
	}
}

func serve(s *yamux.Stream, handlers map[Method]Handler) {
	defer s.Close()
	method, body, err := receive(s, MaxRequest)
	if err != nil {
		return
	}
	handler, known := handlers[Method(method)]
	if !known {
		_ = send(s, invalidArgument, fmt.Appendf(nil, "no method %d", method))
		return
	}
	reply, keep, err := handler(body)
	var answer []byte
	if err == nil {
		answer, err = encode(reply)
	}
	if err != nil {
		_ = send(s, outcome(err), []byte(err.Error()))
		return
	}
	if err := send(s, ok, answer); err == nil && keep != nil {
		keep(guestStream{s})
	}
}

// guestStream reads its stream unbuffered: nothing was read beyond the call.
type guestStream struct{ *yamux.Stream }

func (s guestStream) CloseWrite() error { return s.Stream.Close() }
