package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

// serving passes requests to a program that serves HTTP. One that ends, no longer
// listens, or leaves a request unanswered for its time, is started anew by the next
// call.
type serving struct {
	file        string
	connections connections

	mu      sync.Mutex
	stop    context.CancelFunc // of the program that runs
	gone    chan struct{}      // closed when it has ended
	listens bool               // it has been seen to
}

// keptConnections is how many connections to the program wait for more requests.
const keptConnections = 64

func newServing(file string) (contract.Caller, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, contract.Problemf(500, "find a port for %s: %v", file, err)
	}
	defer l.Close()
	return &serving{file: file, connections: newConnections(l.Addr().String(), keptConnections)}, nil
}

// started runs the program unless it runs, and waits until it listens.
func (s *serving) started(ctx context.Context) (gone chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended() {
		if err := s.start(); err != nil {
			return nil, contract.Problemf(500, "%s cannot be started: %v", s.file, err)
		}
	}
	for !s.listens {
		if c, err := net.DialTimeout("tcp", s.connections.address, time.Second); err == nil {
			_ = c.Close()
			s.listens = true
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.gone:
			return nil, contract.Problemf(500, "the function's process ended without an answer: it exited before it served")
		case <-time.After(5 * time.Millisecond):
		}
	}
	return s.gone, nil
}

// ended says whether no program runs.
func (s *serving) ended() bool {
	if s.gone == nil {
		return true
	}
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

func (s *serving) start() error {
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, s.file)
	_, port, _ := net.SplitHostPort(s.connections.address)
	cmd.Env = append(os.Environ(), "PORT="+port)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	group(cmd)
	if err := cmd.Start(); err != nil {
		stop()
		return err
	}
	gone := make(chan struct{})
	s.stop, s.gone, s.listens = stop, gone, false
	go func() {
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(os.Stderr, "the program ended: %v\n", err)
		}
		stop()
		close(gone)
	}()
	return nil
}

// end ends the program of gone, unless another has taken its place.
func (s *serving) end(gone chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone == gone {
		s.stop()
		<-gone
	}
}

func (s *serving) Call(ctx context.Context, r *http.Request, body []byte) (contract.Answer, error) {
	gone, err := s.started(ctx)
	if err != nil {
		return contract.Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://"+s.connections.address+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return contract.Answer{}, contract.Problemf(400, "the request cannot be passed on: %v", err)
	}
	req.Header, req.Host = r.Header.Clone(), r.Host
	for _, name := range []string{"Connection", "Keep-Alive", "Expect"} {
		req.Header.Del(name) // they are of the connection that ends here
	}
	resp, data, err := s.connections.exchange(ctx, req)
	if err != nil {
		return contract.Answer{}, s.failed(ctx, gone, err)
	}
	header := resp.Header.Clone()
	for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length"} {
		header.Del(name) // as are these
	}
	return contract.Answer{Status: resp.StatusCode, Header: header, Body: data}, nil
}

// ending is how long a program that has ended may take to be known as such.
const ending = 200 * time.Millisecond

// failed ends a program that does not listen, or did not answer in time, unless the
// caller went away. One that closes a connection goes on: it has other calls.
func (s *serving) failed(ctx context.Context, gone chan struct{}, err error) error {
	var network *net.OpError
	switch {
	case ctx.Err() == context.Canceled:
		return ctx.Err()
	case ctx.Err() != nil, errors.As(err, &network) && network.Op == "dial":
		s.end(gone)
	}
	select {
	case <-gone:
		return contract.Problemf(500, "the function's process ended without an answer: %v", err)
	case <-time.After(ending):
		return contract.Problemf(500, "the function's process closed the connection without an answer: %v", err)
	}
}
