// Package accesslog writes a line of JSON for every request.
//
// Lines are collected and written together, a fifth of a second later at most:
// a system call for each request would be a good part of its cost. It is not a
// request that writes them: who reads the log may be slow, and all others would
// wait for it. Close writes what is left.
package accesslog

import (
	"io"
	"sync"
	"time"
)

const (
	// flushEvery is how old a line can get before it is written.
	flushEvery = 200 * time.Millisecond
	// flushSize is how many bytes are collected before they are written at
	// once.
	flushSize = 32 << 10
	// maxBehind is how many bytes may wait to be written. Requests wait for
	// room then: no line is lost, and memory is bounded.
	maxBehind = 1 << 20
)

// Entry is what is said of one request.
type Entry struct {
	Start          time.Time
	Took           time.Duration
	Peer           string // address of the client
	Protocol       string // of the client: HTTP/1.1 or HTTP/2.0
	Method         string
	Host           string
	Path           string // with the query
	Status         int
	Received, Sent int64  // bytes of the two bodies
	Namespace      string // empty when no revision was found, as the next two
	Revision       string
	Instance       string // name of the pod
	Trace          string // value of traceparent
	Problem        string // why the gateway answered by itself
}

// Log writes entries. A nil Log writes none.
type Log struct {
	out  io.Writer
	full chan struct{} // says that enough is collected
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex
	buf    []byte     // guarded by mu; what is collected
	taken  *sync.Cond // of mu: buf is empty again
	closed bool       // guarded by mu
}

// New returns a log that writes to out until Close.
func New(out io.Writer) *Log {
	l := &Log{out: out, full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	l.taken = sync.NewCond(&l.mu)
	go l.run()
	return l
}

// Close writes what is left and ends the log. Entries that come later are lost.
func (l *Log) Close() {
	if l == nil {
		return
	}
	close(l.stop)
	<-l.done
}

var lines = sync.Pool{New: func() any { return new([]byte) }}

// Write adds an entry. It waits only where out is behind by maxBehind.
func (l *Log) Write(e *Entry) {
	if l == nil {
		return
	}
	line := lines.Get().(*[]byte)
	*line = appendEntry((*line)[:0], e)
	if l.add(*line) {
		select {
		case l.full <- struct{}{}:
		default: // it was said before
		}
	}
	lines.Put(line)
}

// add says whether enough is collected now.
func (l *Log) add(line []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buf) >= maxBehind && !l.closed {
		l.taken.Wait()
	}
	if !l.closed {
		l.buf = append(l.buf, line...)
	}
	return len(l.buf) >= flushSize
}

func (l *Log) run() {
	defer close(l.done)
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	var spare []byte
	for stopped := false; !stopped; {
		select {
		case <-ticker.C:
		case <-l.full:
		case <-l.stop:
			stopped = true
		}
		spare = l.flush(spare[:0], stopped)
	}
}

// flush writes what is collected, and collects into another buffer from now on.
// A log that cannot be written is no reason to stop serving.
func (l *Log) flush(into []byte, last bool) []byte {
	l.mu.Lock()
	from := l.buf
	l.buf, l.closed = into, last
	l.taken.Broadcast()
	l.mu.Unlock()
	if len(from) > 0 {
		_, _ = l.out.Write(from)
	}
	return from
}
