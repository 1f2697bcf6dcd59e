// Package qmp speaks the QEMU Machine Protocol over a connected socket: one
// command at a time, its answer, and the events in between.
//
// QEMU is trusted as little as the guest in it: a line longer than the limit
// ends the connection, and values are decoded into types that the caller
// names.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine caps one message. The longest answers are QEMU's lists of a few
// hundred entries.
const maxLine = 1 << 20

// Error is QEMU's refusal of a command.
type Error struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return fmt.Sprintf("qemu refuses %s: %s", e.Command, e.Desc) }

// Event is something that QEMU reports unasked.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// Client is one QMP connection. It owns the socket.
type Client struct {
	conn    *net.UnixConn
	answers chan message  // unbuffered; the reader hands over
	broken  chan struct{} // closed when the reader has ended
	reason  error         // set before broken is closed
	slot    chan struct{} // holds one token: one command at a time
	events  func(Event)
	close   sync.Once
}

type message struct {
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
	ID     uint64          `json:"id"`
	Event
}

// New takes over conn, whose other end is a QMP monitor, and waits for QEMU to
// be ready for commands. events is called in order, one at a time, from a
// goroutine that ends with the connection; it must not call the client.
func New(ctx context.Context, conn *net.UnixConn, events func(Event)) (*Client, error) {
	c := &Client{conn: conn, answers: make(chan message), broken: make(chan struct{}), slot: make(chan struct{}, 1), events: events}
	lines := bufio.NewReaderSize(conn, 4096)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	_, err := readLine(lines) // the greeting
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("wait for qemu's monitor: %w", err)
	}
	go c.read(lines)
	if err := c.Do(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Do sends one command and decodes its answer into result, which may be nil.
// files travel with it (SCM_RIGHTS). When ctx ends before the answer, the
// next command waits for that answer: QEMU may stand still for a while, frozen.
func (c *Client) Do(ctx context.Context, command string, arguments, result any, files ...*os.File) error {
	select {
	case c.slot <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, ctx.Err())
	}
	if err := c.send(command, arguments, files); err != nil {
		<-c.slot
		return err
	}
	answered := make(chan message, 1)
	go func() {
		select {
		case m := <-c.answers:
			answered <- m
		case <-c.broken:
			close(answered)
		}
		<-c.slot
	}()
	select {
	case m, ok := <-answered:
		if !ok {
			return fmt.Errorf("%s: qemu's monitor is gone: %w", command, c.reason)
		}
		return decode(command, m, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, ctx.Err())
	}
}

// Wait returns when the connection has ended, and every event was handled.
func (c *Client) Wait() { <-c.broken }

// Close ends the connection and waits for the reader.
func (c *Client) Close() {
	c.close.Do(func() { _ = c.conn.Close() })
	<-c.broken
}

func (c *Client) send(command string, arguments any, files []*os.File) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := c.conn.WriteMsgUnix(append(line, '\n'), rights, nil); err != nil {
		return fmt.Errorf("%s: send to qemu: %w", command, err)
	}
	return nil
}

func decode(command string, m message, result any) error {
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("%s: understand qemu's answer: %w", command, err)
	}
	return nil
}

func (c *Client) read(lines *bufio.Reader) {
	defer close(c.broken)
	defer c.conn.Close()
	for {
		line, err := readLine(lines)
		if err != nil {
			c.reason = err
			return
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			c.reason = fmt.Errorf("understand qemu: %w", err)
			return
		}
		if m.Name != "" {
			c.events(m.Event)
			continue
		}
		// Nobody may be waiting, where QEMU answers what it was not asked.
		select {
		case c.answers <- m:
		case <-time.After(10 * time.Second):
			c.reason = errors.New("an answer that nobody asked for")
			return
		}
	}
}

// readLine reads one line of at most maxLine bytes.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		default:
			return nil, err
		}
	}
}
