package gateway

import (
	"bufio"
	_ "embed"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

//go:embed testdata/smuggling.txt
var smuggling string

// TestSmuggling sends each request of the table with a second one behind it.
// What the gateway refuses ends the connection, and no instance ever sees the
// second one; after what it accepts, the second one is answered.
func TestSmuggling(t *testing.T) {
	r := newRig(t)
	hidden := make(chan string, 1000)
	r.service("echo", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if req.URL.Path == "/hidden" {
			hidden <- req.Header.Get("X-Case")
		}
		if err == nil {
			_, _ = w.Write(body)
		}
	}), nil)
	for line := range strings.Lines(smuggling) {
		status, name, request, ok := parseCase(t, line)
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, answers := r.dial()
			_, _ = io.WriteString(c, request+"GET /hidden HTTP/1.1\r\nHost: echo.default\r\nX-Case: "+name+"\r\n\r\n")
			first, err := http.ReadResponse(answers, nil)
			if err != nil || first.StatusCode != status {
				t.Fatalf("%v, %v; want %d", first, err, status)
			}
			_, _ = io.Copy(io.Discard, first.Body)
			if status == http.StatusOK && !strings.Contains(request, "HTTP/1.0") {
				second, err := http.ReadResponse(answers, nil)
				if err != nil || second.StatusCode != http.StatusOK || <-hidden != name {
					t.Errorf("the second request: %v, %v", second, err)
				}
				return
			}
			if !first.Close && status != http.StatusOK {
				t.Error("the refusal does not close the connection")
			}
			if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil {
				t.Errorf("after the answer came %q, %v", rest, err)
			}
			select {
			case <-hidden:
				t.Error("the hidden request reached the instance")
			default:
			}
		})
	}
}

func parseCase(t *testing.T, line string) (status int, name, request string, ok bool) {
	line = strings.TrimSuffix(line, "\n")
	if line == "" || line[0] == '#' {
		return 0, "", "", false
	}
	code, rest, _ := strings.Cut(line, " ")
	name, rest, _ = strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	rest = strings.ReplaceAll(strings.TrimLeft(rest, " "), "{host}", `Host: echo.default\r\n`)
	request, err = strconv.Unquote(`"` + strings.ReplaceAll(rest, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return status, name, request, true
}

// TestOneByteAtATime must not change what a request means.
func TestOneByteAtATime(t *testing.T) {
	r := newRig(t)
	r.service("echo", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) }), nil)
	c, answers := r.dial()
	for _, b := range []byte("POST / HTTP/1.1\r\nHost: echo.default\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(answers), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello world" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestLargeHead(t *testing.T) {
	r := newRig(t)
	r.service("any", says("ok"), nil)
	for size, want := range map[int]int{40 << 10: http.StatusOK, 70 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req := r.request(http.MethodGet, "any.default", "/", nil)
		req.Header.Set("X-Large", strings.Repeat("x", size))
		if status, body := r.do(req); status != want {
			t.Errorf("%d bytes: %d %q, want %d", size, status, body, want)
		}
	}
}

// A client of HTTP/1.0 that keeps its connection is told that it may, or it would
// wait for the connection's end.
func TestRefusalOverHTTP10(t *testing.T) {
	r := newRig(t)
	c, answers := r.dial()
	for range 2 {
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\nHost: nobody.default\r\nConnection: keep-alive\r\n\r\n")
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusNotFound || resp.Header.Get("Connection") != "keep-alive" {
			t.Fatalf("%v, %v", resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}
