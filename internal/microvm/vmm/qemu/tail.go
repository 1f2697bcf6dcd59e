package qemu

import (
	"io"
	"strings"
	"sync"
)

// maxTail is how much of an output is kept, in bytes.
const maxTail = 8 << 10

// tail keeps the end of what is written to a stream.
type tail struct {
	ended chan struct{} // closed at the stream's end

	mu   sync.Mutex
	text []byte // guarded by mu
}

// follow reads r to its end, then closes it.
func follow(r io.ReadCloser) *tail {
	t := &tail{ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		defer r.Close()
		_, _ = io.Copy(t, r)
	}()
	return t
}

// Write adds to the tail; it never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if excess := len(t.text) - maxTail; excess > 0 {
		t.text = append(t.text[:0], t.text[excess:]...)
	}
	return len(p), nil
}

// wait returns when the stream has ended.
func (t *tail) wait() { <-t.ended }

// String is the tail without what a terminal would obey.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, string(t.text)))
}
