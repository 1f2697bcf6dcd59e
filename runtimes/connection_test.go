package runtimes

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// say sends parts of requests on one connection, with pauses in which a worker
// gives it back, and returns the answers until the server closes it.
func (s server) say(t *testing.T, parts ...string) (answers []string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for n, part := range parts {
		if n > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
	}
	for in := bufio.NewReader(c); ; {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return answers
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusContinue {
			answers = append(answers, fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(body))))
		}
	}
}

// Some servers read HTTP themselves: requests in pieces and several at once, and
// none that could be read in two ways.
func TestConnections(t *testing.T) {
	for _, name := range []string{"python3", "ruby"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			readsConnections(t, name)
		})
	}
}

func readsConnections(t *testing.T, name string) {
	r, err := Get(name)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, sources[name], "echo", patient)
	const (
		one   = "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 3\r\n\r\none"
		two   = "POST / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\ntw\r\n1\r\no\r\n0\r\n\r\n"
		three = "POST / HTTP/1.1\r\nHost: f\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nthree"
		last  = "POST / HTTP/1.1\r\nHost: f\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast"
	)
	for title, tc := range map[string]struct {
		parts []string
		want  string
	}{
		"at once":           {[]string{one + two + three + last}, "200 one|200 two|200 three|200 last"},
		"one by one":        {[]string{one, two, three, last}, "200 one|200 two|200 three|200 last"},
		"in pieces":         {[]string{one[:10], one[10:40], one[40:] + two[:60], two[60:] + last}, "200 one|200 two|200 last"},
		"of an old client":  {[]string{"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nold" + one}, "200 old"},
		"no request":        {[]string{"hello\r\n\r\n" + one}, "400 the request's first line cannot be read"},
		"no header":         {[]string{"POST / HTTP/1.1\r\nHost\r\n\r\n" + one}, "400 the request's header cannot be read"},
		"a folded header":   {[]string{"POST / HTTP/1.1\r\nA: b\r\n c\r\n\r\n" + one}, "400 the request's header cannot be read"},
		"two lengths":       {[]string{"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 0\r\n\r\none" + one}, "400 the content length is not a number"},
		"a length below":    {[]string{"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n" + one}, "400 the content length is not a number"},
		"length and chunks": {[]string{"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + one}, "200 x"},
		"another encoding":  {[]string{"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n" + one}, "400 the transfer encoding is not chunked"},
		"no chunks":         {[]string{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n" + one}, "400 the body's chunks cannot be read"},
		"another method":    {[]string{"TRACE / HTTP/1.1\r\n\r\n" + one}, "501 the method is none that functions are called with"},
		"a long header":     {[]string{"POST / HTTP/1.1\r\nA: " + strings.Repeat("x", 64<<10+1-len("POST / HTTP/1.1\r\nA: "))}, "431 the request's header is larger than 64 KiB"},
	} {
		if got := strings.Join(s.say(t, tc.parts...), "|"); got != tc.want {
			t.Errorf("%s: %q, want %q", title, got, tc.want)
		}
	}
}
