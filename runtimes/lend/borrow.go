package lend

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

// The program's files: where connections come, and the board.
const (
	channelFile = 3 + iota
	boardFile
)

// loaded is what the program says when it takes connections; any other number is
// that of a connection that it has closed.
const loaded = 1<<32 - 1

// Borrow answers requests on the connections that are lent, with a function's
// calls, until the server ends. It is for a program that Lend has started.
func Borrow(c contract.Caller) error {
	b, err := openBoard(os.NewFile(boardFile, "board"))
	if err != nil {
		return err
	}
	syscall.CloseOnExec(boardFile)
	file := os.NewFile(channelFile, "channel")
	conn, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("take connections: %w", err)
	}
	_ = file.Close()
	from := &borrower{channel: conn.(*net.UnixConn), board: b, began: time.Now()}
	server := &http.Server{
		Handler:           contract.Handler(marked{c, from}, nil, b),
		ReadHeaderTimeout: time.Minute,
		ConnState:         mark,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, slotKey{}, c.(*connection).slot)
		},
	}
	if err := from.say(loaded); err != nil {
		return err
	}
	return server.Serve(from)
}

// borrower is the listener of lent connections.
type borrower struct {
	channel *net.UnixConn
	board   *board
	began   time.Time
}

func (b *borrower) say(number uint32) error {
	_, err := b.channel.Write(binary.BigEndian.AppendUint32(nil, number))
	return err
}

// Accept waits for the next connection.
func (b *borrower) Accept() (net.Conn, error) {
	number, rights := make([]byte, 4), make([]byte, syscall.CmsgSpace(4))
	n, m, _, _, err := b.channel.ReadMsgUnix(number, rights)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 || n != len(number) {
		return nil, errors.New("a connection came without its number or file")
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("a connection came without its file")
	}
	file := os.NewFile(uintptr(fds[0]), "connection")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return nil, fmt.Errorf("take a connection: %w", err)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("take a connection: %w", err)
	}
	at := binary.BigEndian.Uint32(number)
	return &connection{TCPConn: conn.(*net.TCPConn), raw: raw, number: at, slot: &b.board.slots[at], from: b}, nil
}

func (b *borrower) Close() error { return b.channel.Close() }

func (b *borrower) Addr() net.Addr { return b.channel.LocalAddr() }

// connection is one that is lent. The server closes its own copy when it hears
// that this one is closed.
type connection struct {
	*net.TCPConn
	raw    syscall.RawConn
	number uint32
	slot   *slot
	from   *borrower
	closed sync.Once
}

// Read says that a request begins before it takes anything of it: what it has not
// taken, the next program finds.
func (c *connection) Read(data []byte) (n int, err error) {
	if c.slot.phase.Load() != waits {
		return c.TCPConn.Read(data)
	}
	failed := c.raw.Read(func(fd uintptr) bool {
		c.slot.phase.Store(reads)
		if n, err = syscall.Read(int(fd), data); errors.Is(err, syscall.EAGAIN) {
			c.slot.phase.Store(waits)
			return false
		}
		return true
	})
	switch {
	case failed != nil:
		return 0, failed
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
	case n == 0 && len(data) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *connection) Write(data []byte) (int, error) {
	c.slot.phase.CompareAndSwap(answers, sends)
	return c.TCPConn.Write(data)
}

func (c *connection) Close() error {
	err := c.TCPConn.Close()
	c.closed.Do(func() { _ = c.from.say(c.number) })
	return err
}

// mark says of a connection that it waits for a request again.
func mark(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		c.(*connection).slot.phase.Store(waits)
	}
}

type slotKey struct{}

// marked says of calls when they begin and end.
type marked struct {
	contract.Caller
	from *borrower
}

func (m marked) Call(ctx context.Context, r *http.Request, body []byte) (contract.Answer, error) {
	s := ctx.Value(slotKey{}).(*slot)
	s.enter(contract.NewLine(r), time.Since(m.from.began))
	defer s.phase.Store(answers)
	return m.Caller.Call(ctx, r, body)
}
