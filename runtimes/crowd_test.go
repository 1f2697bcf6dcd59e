package runtimes

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Connections that nobody uses leave room for new ones.
func TestIdleConnectionsLeaveRoom(t *testing.T) {
	for name, most := range map[string]int{"php": 480, "ruby": 1024} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leavesRoom(t, name, most)
		})
	}
}

func leavesRoom(t *testing.T, name string, most int) {
	r, err := Get(name)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, sources[name], "run", patient)
	var last net.Conn
	for range most {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		last = c
	}
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 3 { // each has a place of those
		resp, err := client.Get(s.url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if err := last.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(last, "GET /healthz HTTP/1.1\r\nHost: f\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(last), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !resp.Close {
		t.Error("a server with many connections keeps one after its answer")
	}
}
