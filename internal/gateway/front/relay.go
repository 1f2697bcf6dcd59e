package front

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/http1"
	"redoubt.dev/redoubt/internal/gateway/stream"
)

// upload passes the rest of the request's body on. Moved is told of every
// step. An error ends the exchange.
func (x *exchange) upload(to *stream.Conn, moved func(int)) error {
	for moved(0); !x.body.done(); {
		n, err := x.body.take(x.conn.Buffered())
		if err != nil {
			x.abort(refusalOf(err))
			return err
		}
		if n == 0 {
			if err := fillMore(x.conn); err != nil {
				x.abort(readFault(err))
				return err
			}
			continue
		}
		if _, err := to.Write(x.conn.Buffered()[:n]); err != nil {
			return err // the answer may be there all the same
		}
		x.conn.Discard(n)
		moved(n)
	}
	return nil
}

// readFault says why a client's body did not come.
func readFault(err error) *balance.Refusal {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return slowClient
	case errors.Is(err, io.EOF):
		return refusalOf(err)
	}
	return clientGone
}

// fillMore reads more, into a large buffer if it can be had.
func fillMore(c *stream.Conn) error {
	c.Grow()
	return c.Fill()
}

// download passes the rest of an answer's body on as it is.
func (x *exchange) download(b *body) error {
	idle := x.revision.Settings().Idle
	for !b.done() {
		n, err := b.take(x.up.Buffered())
		if err != nil {
			return err
		}
		if n == 0 {
			x.enter(passing, 0) // the instance may take its time
			if err := fillMore(x.up.Conn); err != nil {
				return err
			}
			x.enter(passing, bodyTimeout)
			x.passed(idle)
			continue
		}
		if _, err := x.conn.Write(x.up.Buffered()[:n]); err != nil {
			return clientGone
		}
		x.up.Discard(n)
		x.sent += int64(n)
		x.passed(idle)
	}
	return nil
}

// recode passes an answer's body on in another form: in chunks when encode is
// set, bare when not. It ends with the body.
func (x *exchange) recode(b *body, encode bool) error {
	idle := x.revision.Settings().Idle
	for !b.done() {
		n, data, err := b.takeData(x.up.Buffered())
		if err != nil {
			return err
		}
		if n == 0 {
			x.enter(passing, 0)
			if err := fillMore(x.up.Conn); err != nil {
				if errors.Is(err, io.EOF) && b.left == http1.NoLength && !b.chunked {
					break // which is the end of such a body
				}
				return err
			}
			x.enter(passing, bodyTimeout)
			x.passed(idle)
			continue
		}
		if data {
			if err := x.writeData(x.up.Buffered()[:n], encode); err != nil {
				return clientGone
			}
			x.sent += int64(n)
		}
		x.up.Discard(n)
	}
	if !encode {
		return nil
	}
	_, err := x.conn.Write(lastChunk)
	return err
}

var (
	lastChunk = []byte("0\r\n\r\n")
	lineEnd   = []byte("\r\n")
)

func (x *exchange) writeData(data []byte, encode bool) error {
	if !encode {
		_, err := x.conn.Write(data)
		return err
	}
	x.out = append(strconv.AppendInt(x.out[:0], int64(len(data)), 16), lineEnd...)
	chunk := net.Buffers{x.out, data, lineEnd}
	_, err := chunk.WriteTo(x.conn.Conn)
	return err
}
