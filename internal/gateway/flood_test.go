package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A client that floods a connection with frames of HTTP/2 gets no more of an
// instance's attention than one that does not, costs no memory that grows with
// what it sends, and keeps nobody else waiting: CVE-2023-44487 (rapid reset),
// CVE-2025-8671 (made you reset), CVE-2023-45288 (continuation), and floods of
// frames that want an answer. The control is a client that opens as many streams
// as it may, which all reach the instance.
func TestHTTP2Floods(t *testing.T) {
	const many = 20_000
	for name, flood := range map[string]func(*flooder) error{
		"reset": func(f *flooder) error {
			return f.repeat(many, func(stream uint32) error {
				return errors.Join(f.open(stream), f.frames.WriteRSTStream(stream, h2.ErrCodeCancel))
			})
		},
		"made to reset": func(f *flooder) error {
			return f.repeat(many, func(stream uint32) error {
				return errors.Join(f.open(stream), f.frames.WriteRawFrame(h2.FrameWindowUpdate, 0, stream, make([]byte, 4)))
			})
		},
		"continuation": func(f *flooder) error {
			if err := f.frames.WriteHeaders(h2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head(), EndStream: true}); err != nil {
				return err
			}
			more := f.fields("x-more", strings.Repeat("x", 1<<10))
			return f.repeat(many, func(uint32) error { return f.frames.WriteContinuation(1, false, more) })
		},
		"ping": func(f *flooder) error {
			return f.repeat(many, func(uint32) error { return f.frames.WritePing(false, [8]byte{}) })
		},
		"settings": func(f *flooder) error { return f.repeat(many, func(uint32) error { return f.frames.WriteSettings() }) },
		"control":  func(f *flooder) error { return f.repeat(maxStreams, f.open) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var now, most atomic.Int64
			all := make(chan struct{}, 2*many)
			r.service("busy", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				n := now.Add(1)
				defer now.Add(-1)
				for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
				}
				all <- struct{}{}
				<-req.Context().Done()
			}), nil)
			r.service("other", says("other"), nil)
			before := heap()
			f := newFlooder(t, r.address)
			if err := flood(f); err != nil {
				t.Logf("the gateway ends the connection: %v", err)
			}
			r.expect("other.default", http.StatusOK, "other")
			if name == "control" {
				for range maxStreams {
					<-all
				}
			}
			if n := most.Load(); n > maxStreams || name == "control" && n != maxStreams {
				t.Errorf("the instance had %d requests at a time, want at most %d", n, maxStreams)
			}
			const room = 64 << 20
			if grown := heap() - before; grown > room {
				t.Errorf("the gateway and the client hold %d MiB more than before", grown>>20)
			}
		})
	}
}

// heap is what is in use, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// flooder is a client that does as it likes.
type flooder struct {
	frames  *h2.Framer
	fields  func(pairs ...string) []byte
	written *bytes.Buffer
}

func newFlooder(t *testing.T, address string) *flooder {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	if _, err := io.WriteString(conn, h2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := &flooder{frames: h2.NewFramer(conn, nil), written: &bytes.Buffer{}}
	f.frames.AllowIllegalWrites = true
	encoder := hpack.NewEncoder(f.written)
	f.fields = func(pairs ...string) []byte {
		f.written.Reset()
		for i := 0; i < len(pairs); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // to memory
		}
		return bytes.Clone(f.written.Bytes())
	}
	if err := f.frames.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *flooder) head() []byte {
	return f.fields(":method", "GET", ":scheme", "http", ":authority", "busy.default", ":path", "/")
}

func (f *flooder) open(stream uint32) error {
	return f.frames.WriteHeaders(h2.HeadersFrameParam{StreamID: stream, BlockFragment: f.head(), EndStream: true, EndHeaders: true})
}

// repeat does something for so many streams of the client's.
func (f *flooder) repeat(times int, do func(stream uint32) error) error {
	for i := range times {
		if err := do(uint32(2*i + 1)); err != nil {
			return err
		}
	}
	return nil
}
