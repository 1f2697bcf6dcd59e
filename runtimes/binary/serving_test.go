package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain is the program of a function, too.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_PROGRAM") == "" {
		os.Exit(m.Run())
	}
	err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/close":
			panic(http.ErrAbortHandler)
		case "/exit":
			os.Exit(3)
		}
		fmt.Fprint(w, os.Getpid())
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A program that closes one call's connection goes on; one that ends is started anew.
func TestAProgramWithOtherCallsGoesOn(t *testing.T) {
	t.Setenv("TEST_PROGRAM", "yes")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	caller, err := newServing(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	s := caller.(*serving)
	call := func(path string) (string, error) {
		a, err := s.Call(ctx, httptest.NewRequest(http.MethodPost, path, nil), nil)
		return string(a.Body), err
	}
	first, err := call("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.end(s.gone) }()
	if _, err := call("/close"); err == nil {
		t.Error("a closed connection is an answer")
	}
	if pid, err := call("/"); err != nil || pid != first {
		t.Errorf("process %q answers, %v; want %q", pid, err, first)
	}
	if _, err := call("/exit"); err == nil {
		t.Error("a process that ended has answered")
	}
	if pid, err := call("/"); err != nil || pid == first {
		t.Errorf("process %q answers, %v", pid, err)
	}
}

// An answer counts that comes before the request has been read, and is the
// connection's last.
func TestAnEarlyAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
		}
		_ = c.Close()
	}()
	all := newConnections(l.Addr().String(), 1)
	resp, body, err := exchange(t, all, bytes.NewReader(make([]byte, 32<<20)))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || string(body) != "no" {
		t.Errorf("%+v, %q, %v", resp, body, err)
	}
	if len(all.idle) > 0 {
		t.Error("the connection is kept")
	}
}

// A program may answer while it reads.
func TestAnAnswerOnTheWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", r.ContentLength)
			_, _ = io.Copy(c, r.Body)
		}
	}()
	const size = 32 << 20
	if _, body, err := exchange(t, newConnections(l.Addr().String(), 1), bytes.NewReader(make([]byte, size))); err != nil || len(body) != size {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

func exchange(t *testing.T, all connections, body io.Reader) (*http.Response, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+all.address, body)
	if err != nil {
		t.Fatal(err)
	}
	return all.exchange(ctx, req)
}

// A connection is used again, and not after a pause in which the program may have
// begun to close it.
func TestOldConnectionsAreNotUsed(t *testing.T) {
	var made atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	all := newConnections(server.Listener.Addr().String(), 1)
	for n, age := range []time.Duration{0, -time.Minute, time.Minute} { // one that is not yet old, whatever the machine does
		if n > 0 {
			c := <-all.idle
			c.since = time.Now().Add(-age)
			all.idle <- c
		}
		if _, _, err := exchange(t, all, nil); err != nil {
			t.Fatal(err)
		}
	}
	if made.Load() != 2 {
		t.Errorf("%d connections, want 2", made.Load())
	}
}
