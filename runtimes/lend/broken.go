package lend

import (
	"net"
	"net/http"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

// queue is of connections that have no program: each has one answer, which says
// why.
type queue chan net.Conn

func (q queue) serve(b *board) {
	server := &http.Server{Handler: contract.Handler(nil, errBroken, b), ReadHeaderTimeout: time.Minute}
	server.SetKeepAlivesEnabled(false) // there may be a program for the next
	_ = server.Serve(q)
}

// Accept waits for the next.
func (q queue) Accept() (net.Conn, error) { return <-q, nil }

func (q queue) Close() error { return nil }

func (q queue) Addr() net.Addr { return &net.TCPAddr{} }
