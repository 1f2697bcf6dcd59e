// Package accesslog writes a line of JSON for every request.
//
// Lines are collected and written together, a fifth of a second later at most:
// a system call for each request would be a good part of its cost. Close
// writes what is left.
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
	stop chan struct{}
	done chan struct{}

	mu  sync.Mutex
	buf []byte // guarded by mu
}

// New returns a log that writes to out until Close.
func New(out io.Writer) *Log {
	l := &Log{out: out, stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// Close writes what is left and ends the log.
func (l *Log) Close() {
	if l == nil {
		return
	}
	close(l.stop)
	<-l.done
}

// Write adds an entry.
func (l *Log) Write(e *Entry) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = appendEntry(l.buf, e)
	if len(l.buf) >= flushSize {
		l.flush()
	}
}

func (l *Log) run() {
	defer close(l.done)
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for stopped := false; !stopped; {
		select {
		case <-ticker.C:
		case <-l.stop:
			stopped = true
		}
		l.mu.Lock()
		l.flush()
		l.mu.Unlock()
	}
}

// flush is called with l.mu held. A log that cannot be written is no reason to
// stop serving.
func (l *Log) flush() {
	if len(l.buf) > 0 {
		_, _ = l.out.Write(l.buf)
		l.buf = l.buf[:0]
	}
}
