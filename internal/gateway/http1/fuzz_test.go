package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
)

// FuzzRequest holds every head that is accepted against net/http: the two must
// agree on what it says.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x?y=z HTTP/1.1\r\nHost: a.b:80\r\nContent-Length: 5\r\nConnection: close, X\r\n\r\n",
		"POST http://a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
		"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	var r Request
	f.Fuzz(func(t *testing.T, b []byte) {
		scanned := 0
		n, err := RequestHead(b, &scanned)
		if err != nil || n == 0 || r.Parse(b[:n]) != nil {
			return
		}
		other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
		if err != nil {
			if strings.Contains(err.Error(), "parse") {
				return // of the target as a URL, which this package leaves to the instance
			}
			t.Fatalf("net/http refuses %q: %v", b[:n], err)
		}
		length := r.Length
		if r.Chunked {
			length = -1
		} else if length == NoLength {
			length = 0
		}
		chunked := len(other.TransferEncoding) == 1 && other.TransferEncoding[0] == "chunked"
		if other.Method != string(r.Method) || other.ContentLength != length || chunked != r.Chunked || other.ProtoMinor != r.Minor {
			t.Fatalf("%q: %s, length %d, chunked %t; net/http: %s, %d, %v",
				b[:n], r.Method, length, r.Chunked, other.Method, other.ContentLength, other.TransferEncoding)
		}
	})
}

// FuzzResponse must not fail, and never leaves the length of a body open where
// there is none.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 204\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 5\n\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		f.Add([]byte(seed), "GET")
	}
	var r Response
	f.Fuzz(func(t *testing.T, b []byte, method string) {
		scanned := 0
		n, err := ResponseHead(b, &scanned)
		if err != nil || n == 0 || r.Parse(b[:n], &Request{Method: []byte(method)}) != nil {
			return
		}
		if r.Chunked && r.Length != NoLength {
			t.Fatalf("%q has two lengths", b[:n])
		}
		if (r.Status < 200 || r.Status == 204 || r.Status == 304) && (r.Chunked || r.Length != 0) {
			t.Fatalf("%q has a body", b[:n])
		}
	})
}

// FuzzChunks holds every body that is accepted against net/http's reader, and
// against itself with the bytes coming one at a time.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "A\r\n0123456789\r\n0\r\nX: y\r\n\r\n", "00f\r\n0123456789abcde\r\n000\r\n\r\nrest",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		data, n, done := feed(t, b, len(b))
		slow, slowN, slowDone := feed(t, b, 1)
		if done != slowDone || done && (n != slowN || !bytes.Equal(data, slow)) {
			t.Fatalf("%q: %q (%d, %t) at once, %q (%d, %t) in steps", b, data, n, done, slow, slowN, slowDone)
		}
		if !done {
			return
		}
		other, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(b[:n])))
		if err != nil || !bytes.Equal(other, data) {
			t.Fatalf("%q: %q; net/http: %q, %v", b[:n], data, other, err)
		}
	})
}

// feed gives b to a reader of chunks, at most step bytes more at a time.
func feed(t *testing.T, b []byte, step int) (all []byte, taken int, done bool) {
	var c Chunks
	for end := 0; end < len(b) && !c.Done(); {
		end = min(end+step, len(b))
		for !c.Done() {
			n, data, err := c.Next(b[taken:end])
			if err != nil {
				return nil, 0, false
			}
			if n == 0 {
				break
			}
			if taken+n > end {
				t.Fatalf("took %d of %d bytes", n, end-taken)
			}
			if data {
				all = append(all, b[taken:taken+n]...)
			}
			taken += n
		}
	}
	return all, taken, c.Done()
}
