package gateway

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// However much goes through in both directions at once, in HTTP/1.1 and HTTP/2, the
// gateway, its client and the instance together hold no more than their buffers.
// The control: an instance that keeps what it gets, of a small part of it.
func TestStreamsTakeConstantMemory(t *testing.T) {
	const much, little, room = 1 << 30, 128 << 20, 64 << 20
	echoes := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, req.Body)
	})
	var kept atomic.Value
	keeps := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		kept.Store(body)
		_, _ = w.Write(body)
	})
	for name, test := range map[string]struct {
		client   *http.Client
		instance http.Handler
		size     int64
		within   bool
	}{
		"HTTP/1.1": {http.DefaultClient, echoes, much, true},
		"HTTP/2":   {http2(), echoes, much, true},
		"control":  {http.DefaultClient, keeps, little, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.service("stream", test.instance, nil)
			before := heap()
			most := peak(t)
			resp, err := test.client.Do(r.request(http.MethodPost, "stream.default", "/", io.LimitReader(zeros{}, test.size)))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != test.size {
				t.Errorf("%d bytes came back, want %d: %v", n, test.size, err)
			}
			if grown := most() - before; (grown <= room) != test.within {
				t.Errorf("%d MiB were held at a time, want at most %d: %v", grown>>20, room>>20, test.within)
			}
		})
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// peak looks at the heap from now on; what it returns ends that, and tells the most.
func peak(t *testing.T) func() int64 {
	t.Helper()
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var seen int64
		for {
			seen = max(seen, heap())
			select {
			case <-stop:
				most <- seen
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(stop); return <-most }
}
