package front

import (
	"bytes"
	"errors"
	"net/http"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/forward"
	"redoubt.dev/redoubt/internal/gateway/http1"
)

// send writes the request's head and what of its body is there. The rest is
// sent while the answer is waited for: an instance may answer before it has
// read everything.
func (x *exchange) send() error {
	x.body = bodyOf(&x.req.Fields)
	if !x.req.HasBody() {
		x.body.left = 0
	}
	rest := x.conn.Buffered()[x.head:]
	n, err := x.body.take(rest)
	if err != nil {
		return refusalOf(err)
	}
	x.out = append(x.appendHead(x.out[:0]), rest[:n]...)
	x.body.buffered, x.received = n, int64(n)
	if _, err := x.up.Write(x.out); err != nil {
		return errBroken
	}
	if x.body.done() {
		return nil
	}
	if x.req.Continue && n == 0 {
		if _, err := x.conn.Write(goOn); err != nil {
			return clientGone
		}
	}
	x.startUpload()
	return nil
}

var goOn = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// refusalOf turns a fault of the client's message into an answer.
func refusalOf(err error) *balance.Refusal {
	var fault *http1.Error
	if errors.As(err, &fault) {
		return &balance.Refusal{Status: fault.Status, Message: fault.Message}
	}
	return &balance.Refusal{Status: http.StatusBadRequest, Message: "the request's body ended early"}
}

// ownHead copies what is still needed of the head: the client's buffer is used
// for what comes next, and may be another client's by then.
func (x *exchange) ownHead() {
	x.req.Method = bytes.Clone(x.req.Method)
	x.req.Target = bytes.Clone(x.req.Target)
	x.req.Host = bytes.Clone(x.req.Host)
}

// startUpload sends the rest of the body from a goroutine of its own.
func (x *exchange) startUpload() {
	x.ownHead()
	x.conn.Discard(x.head + x.body.buffered)
	done := make(chan error, 1)
	x.uploaded = done
	up, idle := x.up, x.revision.Settings().Idle
	go func() {
		defer close(done)
		err := x.upload(up.Conn, func(n int) {
			x.received += int64(n)
			x.watch.upload.Store(x.server.clock.in(bodyTimeout))
			x.passed(idle)
		})
		x.watch.upload.Store(0)
		if err != nil {
			done <- err
		}
	}()
}

// appendHead writes the head as the instance gets it: the client's end-to-end
// headers as they are, and the gateway's own.
func (x *exchange) appendHead(b []byte) []byte {
	req := &x.req
	b = append(append(b, req.Method...), ' ')
	b = append(x.appendTarget(b), " HTTP/1.1\r\n"...)
	traced := false
	for i := range req.List {
		f := &req.List[i]
		switch f.Kind {
		case http1.Other, http1.Host, http1.ContentLength, http1.Trailer, http1.Tag:
			if !req.EndToEnd(f) || x.keeps(f) {
				continue
			}
		case http1.Traceparent:
			if x.span != nil {
				continue // it gets the gateway's, of the same trace
			}
			traced = true
			x.traced(f.Value)
		default:
			continue
		}
		b = appendField(b, f.Name, f.Value)
	}
	if req.Chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if len(req.Upgrade) > 0 {
		b = append(append(b, "Connection: Upgrade\r\nUpgrade: "...), req.Upgrade...)
		b = append(b, "\r\n"...)
	}
	b = x.appendForwarded(b)
	if !traced {
		b = append(b, forward.Traceparent+": "...)
		start := len(b)
		if x.span != nil {
			b = append(b, x.span.Ask(x.instance.Name)...)
		} else {
			b = forward.AppendTraceparent(b)
		}
		x.traced(b[start:])
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

func appendField(b, name, value []byte) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// appendForwarded says who asks and for what. What a proxy before the gateway
// said stays in front of it where the header is a list.
func (x *exchange) appendForwarded(b []byte) []byte {
	b = append(b, forward.Forwarded+": "...)
	b = x.appendValues(b, http1.Forwarded)
	b = forward.AppendForwarded(b, x.peer, string(x.req.Host), x.server.Scheme)
	b = append(b, "\r\n"+forward.For+": "...)
	b = x.appendValues(b, http1.ForwardedFor)
	b = append(append(b, x.peerText...), "\r\n"+forward.Proto+": "...)
	b = append(append(b, x.server.Scheme...), "\r\n"+forward.Host+": "...)
	return append(append(b, x.req.Host...), "\r\n"...)
}

// appendValues writes the client's values of a header, each with a comma.
func (x *exchange) appendValues(b []byte, kind http1.Kind) []byte {
	for i := range x.req.List {
		if f := &x.req.List[i]; f.Kind == kind && len(f.Value) > 0 {
			b = append(append(b, f.Value...), ", "...)
		}
	}
	return b
}

// traceparent is the client's; empty where it sent none, or several.
func (x *exchange) traceparent() (value string) {
	if x.server.Tracer == nil {
		return ""
	}
	for i := range x.req.List {
		if f := &x.req.List[i]; f.Kind == http1.Traceparent {
			if value != "" {
				return ""
			}
			value = string(f.Value)
		}
	}
	return value
}

// traced remembers the trace for the log.
func (x *exchange) traced(value []byte) {
	if x.server.Log != nil {
		x.trace = string(value)
	}
}
