package gateway

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What would not be taken over HTTP/1.1 is not taken over HTTP/2: no instance
// gets a name of a host that writes into the gateway's headers, a header that
// looks like one of them, or a request to become a tunnel.
func TestHTTP2IsHeldToTheSame(t *testing.T) {
	r := newRig(t)
	reached := make(chan http.Header, 100)
	look := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { reached <- req.Header })
	r.service("look", look, nil)
	r.service("look2", look, speaksH2C)
	for title, tc := range map[string]struct {
		change map[string]string
		status string
	}{
		"nothing":                 {nil, "200"},
		"a port":                  {map[string]string{":authority": "HOST:8080"}, "200"},
		"a header with _":         {map[string]string{"x_mine": "1"}, "200"},
		"a trailer":               {map[string]string{"trailer": "x-mine"}, "200"},
		"a host with more":        {map[string]string{":authority": `HOST:";for="192.0.2.1`}, "400"},
		"a header like another":   {map[string]string{"x_forwarded_for": "192.0.2.1"}, "400"},
		"a space in the query":    {map[string]string{":path": "/?a HTTP/1.0"}, "400"},
		"a trailer of the hop":    {map[string]string{"trailer": "x-forwarded-for"}, "400"},
		"a trailer like another":  {map[string]string{"trailer": "x_forwarded_for"}, "400"},
		"a request for a tunnel":  {map[string]string{":method": "CONNECT", ":path": "", ":scheme": ""}, "501"},
		"no host":                 {map[string]string{":authority": ""}, "400"},
		"a fragment in the query": {map[string]string{":path": "/?a#b"}, "400"},
	} {
		for _, host := range []string{"look.default", "look2.default"} {
			fields := map[string]string{":method": "GET", ":scheme": "http", ":authority": host, ":path": "/"}
			for name, value := range tc.change {
				fields[name] = string(bytes.ReplaceAll([]byte(value), []byte("HOST"), []byte(host)))
			}
			if got := r.askHTTP2(fields); got != tc.status {
				t.Errorf("%s, %s: %s, want %s", title, host, got, tc.status)
			}
			select {
			case header := <-reached:
				if tc.status != "200" {
					t.Errorf("%s, %s: the instance got it, with %v", title, host, header)
				}
			default:
			}
		}
	}
}

// askHTTP2 sends a request of these fields, without those that are empty, and
// returns the status of the answer.
func (r *rig) askHTTP2(fields map[string]string) string {
	r.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	write := func(pseudo bool) {
		for name, value := range fields {
			if value != "" && (name[0] == ':') == pseudo {
				_ = encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) // to memory
			}
		}
	}
	write(true)
	write(false)
	_, _ = io.WriteString(conn, h2.ClientPreface)
	frames := h2.NewFramer(conn, conn)
	frames.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	_ = frames.WriteSettings()
	_ = frames.WriteHeaders(h2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			r.Fatalf("%v: %v", fields, err)
		}
		switch f := frame.(type) {
		case *h2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *h2.RSTStreamFrame:
			return f.ErrCode.String()
		}
	}
}
