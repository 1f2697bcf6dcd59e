package http1

import (
	"errors"
	"strings"
	"testing"
)

func parse(t *testing.T, message string) (*Request, error) {
	t.Helper()
	scanned := 0
	n, err := RequestHead([]byte(message), &scanned)
	if err != nil {
		return nil, err
	}
	r := new(Request)
	return r, r.Parse([]byte(message)[:n])
}

func TestRequest(t *testing.T) {
	r, err := parse(t, "POST http://A.b/c?d HTTP/1.1\r\nHost: a.B\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nX-End: 2\r\nContent-Length: 12\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Method) != "POST" || string(r.Target) != "/c?d" || string(r.Host) != "a.B" || r.Length != 12 || r.KeepsAlive() {
		t.Errorf("%+v", r)
	}
	var passed []string
	for i := range r.List {
		if r.EndToEnd(&r.List[i]) {
			passed = append(passed, string(r.List[i].Name))
		}
	}
	if got := strings.Join(passed, " "); got != "Host X-End Content-Length" {
		t.Errorf("passed on: %s", got)
	}
}

func TestLimits(t *testing.T) {
	for name, head := range map[string]string{
		"long":       "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", MaxHead) + "\r\n\r\n",
		"unfinished": "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", MaxHead),
		"many":       "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", maxFields) + "\r\n",
	} {
		if _, err := parse(t, head); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestHeadGoesOn(t *testing.T) {
	message, scanned := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"), 0
	for end := range message {
		n, err := RequestHead(message[:end], &scanned)
		if err != nil || (n > 0) != (end >= len(message)-len("body")) {
			t.Fatalf("%d bytes: %d, %v", end, n, err)
		}
	}
}

func TestResponseHead(t *testing.T) {
	for i, head := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: y\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 4\nX: y\n\n", // what a CGI program's server sends
		"HTTP/1.1 200 OK\nContent-Length: 4\nX: y\r\n\n",
	} {
		r, scanned := new(Response), 0
		n, err := ResponseHead([]byte(head+"\nbody"), &scanned)
		if err != nil || n != len(head) {
			t.Errorf("%q: %d of %d bytes, %v", head, n, len(head), err)
			continue
		}
		if err := r.Parse([]byte(head), &Request{Method: []byte("GET")}); err != nil || r.Status != 200 || r.Length != 4 || len(r.List) != 2 || r.Loose != (i > 0) || string(r.List[1].Value) != "y" {
			t.Errorf("%q: %+v, %v", head, r, err)
		}
	}
	scanned := 0
	if _, err := RequestHead([]byte("GET / HTTP/1.1\nHost: a\n\n"), &scanned); !errors.Is(err, ErrBareLF) {
		t.Errorf("a request with such lines: %v", err)
	}
}
