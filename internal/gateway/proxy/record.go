package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
)

// takeTimeout is how long a client may pause in taking the answer.
const takeTimeout = time.Minute

var slowClient = &balance.Refusal{Status: http.StatusRequestTimeout, Message: "the client was too slow"}

// recorder remembers the status and the size of an answer.
type recorder struct {
	http.ResponseWriter
	watch  *watchdog
	status int // 0 until the head is written
	n      atomic.Int64
	// bodyless says that nothing follows the head. It is sent when the handler
	// returns then, together with the end of the stream: gRPC tells an answer of
	// trailers alone by the one frame that it is.
	bodyless bool
	slow     *time.Timer // runs while the client is waited for; nil before the first time
}

// FlushError sends what has been written.
func (r *recorder) FlushError() error {
	if r.bodyless {
		return nil
	}
	defer r.waits()()
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// waits begins the time that the client has to take what is sent, and returns
// what ends it.
func (r *recorder) waits() (end func() bool) {
	if r.slow == nil {
		r.slow = time.AfterFunc(takeTimeout, r.tooSlow)
	} else {
		r.slow.Reset(takeTimeout)
	}
	return r.slow.Stop
}

// tooSlow ends the exchange with a client that takes nothing: it would keep its
// place in the instance for ever.
func (r *recorder) tooSlow() {
	r.watch.end(slowClient)
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
}

func (r *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	defer r.waits()()
	n, err := r.ResponseWriter.Write(b)
	r.n.Add(int64(n))
	r.watch.passed()
	return n, err
}

// Unwrap lets http.ResponseController hijack.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// counter counts a request's body, which the transport may still read when the
// answer has ended.
type counter struct {
	body  io.ReadCloser
	watch *watchdog
	n     atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.body.Read(b)
	c.n.Add(int64(n))
	c.watch.passed()
	return n, err
}

func (c *counter) Close() error { return c.body.Close() }

// joined counts what passes once both sides have changed to another protocol:
// the client's connection is no longer the recorder's then, nor is there a body.
type joined struct {
	io.ReadWriteCloser
	in  *counter
	out *recorder
}

func (j *joined) Read(b []byte) (int, error) {
	n, err := j.ReadWriteCloser.Read(b)
	j.out.n.Add(int64(n))
	j.out.watch.passed()
	return n, err
}

func (j *joined) Write(b []byte) (int, error) {
	n, err := j.ReadWriteCloser.Write(b)
	j.in.n.Add(int64(n))
	j.in.watch.passed()
	return n, err
}

// CloseWrite passes the end of one direction on.
func (j *joined) CloseWrite() error {
	if c, ok := j.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}
