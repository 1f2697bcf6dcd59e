package runtimes

import (
	"strings"
	"testing"
)

// What may follow a body's last chunk is not the next request's.
func TestTrailersAreNoRequest(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r Runtime) {
		s := start(t, r, sources[r.Name], "run", patient)
		const (
			head  = "POST / HTTP/1.1\r\nHost: f\r\nEvent-Type: echo\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
			last  = "POST / HTTP/1.1\r\nHost: f\r\nEvent-Type: echo\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast"
			inner = "0\r\nX:GET /metrics HTTP/1.1\r\nHello: x\r\n\r\n"
		)
		want := "200 hi|200 last"
		ways := map[string][]string{
			"at once":   {head + inner + last},
			"in pieces": {head, inner[:4], inner[4:20], inner[20 : len(inner)-2], inner[len(inner)-2:] + last},
		}
		if r.Name == "java" { // its library refuses them
			want = "400 the body cannot be read: invalid chunk end"
			delete(ways, "in pieces") // it closes before the last
		}
		for title, parts := range ways {
			if got := strings.Join(s.say(t, parts...), "|"); got != want {
				t.Errorf("%s: %q, want %q", title, got, want)
			}
		}
	})
}

// Chunks that cannot be read are refused, and so is a line or trailers without an
// end: they would take all memory.
func TestChunksOfPHPAreBounded(t *testing.T) {
	r, err := Get("php")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, sources[r.Name], "run", patient)
	const head = "POST / HTTP/1.1\r\nHost: f\r\nEvent-Type: echo\r\nTransfer-Encoding: chunked\r\n\r\n"
	for title, body := range map[string]string{
		"a line without an end":   strings.Repeat("1", 1025),
		"trailers without an end": "0\r\nA: " + strings.Repeat("x", 64<<10+1-len("0\r\nA: ")),
		"a chunk without an end":  "2\r\nhi;\r\n0\r\n\r\n",
	} {
		if got := strings.Join(s.say(t, head+body), "|"); got != "400 the body's chunks cannot be read" {
			t.Errorf("%s: %q", title, got)
		}
	}
}
