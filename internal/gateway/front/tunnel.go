package front

import (
	"net/http"
	"sync"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/stream"
)

// tunnel joins the two connections after both sides have agreed on another
// protocol, until one of them ends.
func (x *exchange) tunnel() verdict {
	if len(x.req.Upgrade) == 0 {
		return x.refuse(&balance.Refusal{Status: http.StatusBadGateway, Message: "the instance changed the protocol without being asked to"})
	}
	x.status = http.StatusSwitchingProtocols
	x.out = x.appendAnswerHead(x.out[:0], keep)
	if _, err := x.conn.Write(x.out); err != nil {
		return end
	}
	x.enter(joined, 0)
	x.up.Discard(x.answerHead)
	x.ownHead()
	x.conn.Discard(x.head)
	x.head = 0
	idle := x.revision.Settings().Idle
	x.passed(idle)
	var both sync.WaitGroup
	both.Go(func() { x.received += pipe(x.up.Conn, x.conn, func() { x.passed(idle) }) })
	both.Go(func() { x.sent += pipe(x.conn, x.up.Conn, func() { x.passed(idle) }) })
	both.Wait()
	if cause := x.watch.cause.Load(); cause != nil && cause.Status != balance.StatusClientGone {
		x.problem = cause.Message
	}
	return end
}

// pipe passes bytes in one direction, and its end too: some protocols know a
// connection that is closed by half.
func pipe(to, from *stream.Conn, passed func()) (n int64) {
	for {
		if b := from.Buffered(); len(b) > 0 {
			if _, err := to.Write(b); err != nil {
				break
			}
			n += int64(len(b))
			from.Discard(len(b))
			passed()
		}
		from.Release()
		if from.Fill() != nil {
			break
		}
	}
	if c, ok := to.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	return n
}
