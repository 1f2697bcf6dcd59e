package front

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/guard"
	"redoubt.dev/redoubt/internal/gateway/http1"
)

// maxInterim bounds the interim answers (1xx) before the final one.
const maxInterim = 16

// lastBytes is how long the rest of a request's body may take after the whole
// answer has been passed on. The instance usually has all of it by then, and only
// the goroutine that sent it has not said so yet.
const lastBytes = 50 * time.Millisecond

// readAnswer reads the head of the final answer, and passes interim ones on.
func (x *exchange) readAnswer() error {
	for range maxInterim {
		n, err := x.readAnswerHead()
		if err != nil {
			return err
		}
		if err := x.resp.Parse(x.up.Buffered()[:n], &x.req); err != nil {
			return err
		}
		x.answerHead = n
		if x.resp.Status >= 200 || x.resp.Status == http.StatusSwitchingProtocols {
			return nil
		}
		if x.resp.Status != http.StatusContinue && x.req.Minor == 1 {
			x.out = x.appendAnswerHead(x.out[:0], keep)
			if _, err := x.conn.Write(x.out); err != nil {
				return clientGone
			}
		}
		x.up.Discard(n)
	}
	return errors.New("too many interim answers")
}

// readAnswerHead returns the length of the next head.
func (x *exchange) readAnswerHead() (int, error) {
	for scanned := 0; ; {
		n, err := http1.ResponseHead(x.up.Buffered(), &scanned)
		if err != nil || n > 0 {
			return n, err
		}
		if err := x.up.Fill(); err != nil {
			if len(x.up.Buffered()) > 0 {
				return 0, errors.New("the connection ended within the answer's head")
			}
			return 0, errBroken
		}
	}
}

// answer passes the final answer on.
func (x *exchange) answer() verdict {
	x.span.Answered()
	if x.resp.Status == http.StatusSwitchingProtocols {
		return x.tunnel()
	}
	x.status = x.resp.Status
	x.enter(passing, bodyTimeout)
	b := bodyOf(&x.resp.Fields)
	after := keep
	lengthless := b.chunked || x.resp.UntilClose() // for a client of HTTP/1.0
	if !x.req.KeepsAlive() || x.server.draining.Load() || lengthless && x.req.Minor == 0 {
		after = end
	}
	pass := x.answerAsItIs
	if x.resp.UntilClose() || lengthless && x.req.Minor == 0 {
		pass = x.answerRecoded
	}
	if err := pass(&b, after); err != nil {
		return x.answerFailed(err)
	}
	return x.settle(after)
}

// answerAsItIs sends an answer whose body goes through unchanged. Most heads
// do, too, and are then written from the buffer they were read into.
func (x *exchange) answerAsItIs(b *body, after verdict) error {
	all := x.up.Buffered()
	length := x.answerHead
	n, err := b.take(all[length:])
	if err != nil {
		return err
	}
	first := all[:length+n]
	if !x.verbatim(after) {
		x.out = append(x.appendAnswerHead(x.out[:0], after), all[length:length+n]...)
		first = x.out
	}
	if _, err := x.conn.Write(first); err != nil {
		return clientGone
	}
	x.sent = int64(n)
	x.up.Discard(length + n)
	return x.download(b)
}

// answerRecoded sends an answer whose body needs another form for this client.
func (x *exchange) answerRecoded(b *body, after verdict) error {
	x.out = x.appendAnswerHead(x.out[:0], after)
	if _, err := x.conn.Write(x.out); err != nil {
		return clientGone
	}
	x.up.Discard(x.answerHead)
	return x.recode(b, x.req.Minor == 1)
}

// verbatim says that the answer's head can be sent as it is.
func (x *exchange) verbatim(after verdict) bool {
	if after != keep || x.guard.CORS() || x.req.Minor == 0 || x.resp.Minor == 0 || x.resp.Loose || x.resp.Status == http.StatusNoContent {
		return false
	}
	for i := range x.resp.List {
		f := &x.resp.List[i]
		if f.Kind == http1.TransferEncoding && x.resp.Chunked {
			continue
		}
		if f.Kind.HopByHop() {
			return false
		}
	}
	return true
}

// appendAnswerHead writes the answer's head anew, without what is for the
// gateway alone.
func (x *exchange) appendAnswerHead(b []byte, after verdict) []byte {
	resp := &x.resp
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(resp.Status), 10)
	b = append(append(append(b, ' '), resp.Reason...), lineEnd...)
	lengthless := resp.Status < 200 || resp.Status == http.StatusNoContent
	for i := range resp.List {
		f := &resp.List[i]
		if !resp.EndToEnd(f) || x.overrides(f) || lengthless && f.Kind == http1.ContentLength {
			continue
		}
		b = appendField(b, f.Name, f.Value)
	}
	if x.guard.CORS() && resp.Status >= 200 {
		b = append(b, guard.AllowOrigin+": *\r\n"...)
	}
	switch {
	case resp.Status == http.StatusSwitchingProtocols:
		b = append(append(append(b, "Connection: Upgrade\r\nUpgrade: "...), resp.Upgrade...), lineEnd...)
	case resp.Status < 200:
	case after != keep:
		b = append(b, "Connection: close\r\n"...)
	case x.req.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	if x.req.Minor == 1 && (resp.Chunked || resp.UntilClose()) {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, lineEnd...)
}

// answerFailed ends an answer that has begun. The client must see that it is
// not whole.
func (x *exchange) answerFailed(err error) verdict {
	var refusal *balance.Refusal
	switch cause := x.watch.cause.Load(); {
	case cause != nil:
		x.problem = cause.Message
	case errors.As(err, &refusal):
		x.problem = refusal.Message
	case errors.Is(err, io.EOF):
		x.problem = "the instance closed the connection within the answer"
	default:
		x.problem = "the instance's answer is not valid: " + err.Error()
	}
	return abandon
}

// settle decides what both connections are good for after the answer.
func (x *exchange) settle(after verdict) verdict {
	if x.uploaded != nil {
		select {
		case err := <-x.uploaded:
			x.uploaded = nil
			if err != nil {
				return linger
			}
		case <-time.After(lastBytes): // the instance did not want the whole body
			return linger
		}
		x.head, x.body.buffered = 0, 0 // discarded already
	}
	if x.resp.KeepsAlive() && !x.resp.UntilClose() {
		x.use(nil)
		if x.watch.cause.Load() == nil {
			x.instance.Conns.Put(x.up)
			x.up = nil
		}
	}
	return after
}
