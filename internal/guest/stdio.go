package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// stdio is a process's standard files: pipes, or a terminal.
type stdio struct {
	child [3]*os.File // the process's ends; closed once it has them
	in    *os.File    // the agent's ends
	out   *os.File
	err   *os.File
	tty   *os.File // the terminal's controlling end, which is in and out too

	copying sync.WaitGroup // of output
}

// newStdio makes what p asks for. pts is where the container's
// pseudo-terminals are, owner the machine's user that p runs as: it may open
// its files anew, by names such as /dev/stdout.
func newStdio(p *wire.Process, pts string, owner uint32) (_ *stdio, err error) {
	s := &stdio{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if p.Terminal {
		return s, s.openTerminal(p, pts, owner)
	}
	if s.child[0], s.in, err = pipe(p.Stdin, false, owner); err != nil {
		return nil, err
	}
	if s.child[1], s.out, err = pipe(p.Stdout, true, owner); err != nil {
		return nil, err
	}
	s.child[2], s.err, err = pipe(p.Stderr, true, owner)
	return s, err
}

// pipe makes one standard file: the process's end and the agent's. Unwanted,
// it is /dev/null.
func pipe(wanted, output bool, owner uint32) (child, agent *os.File, err error) {
	if !wanted {
		child, err = os.OpenFile("/dev/null", os.O_RDWR, 0)
		return child, nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	if err := w.Chown(int(owner), -1); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("give a pipe to the user: %w", err), r.Close(), w.Close())
	}
	if output {
		return w, r, nil
	}
	return r, w, nil
}

func (s *stdio) openTerminal(p *wire.Process, pts string, owner uint32) error {
	fd, err := unix.Open(filepath.Join(pts, "ptmx"), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open a terminal: %w", err)
	}
	s.tty = os.NewFile(uintptr(fd), "ptmx")
	unlock := 0
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, unlock); err != nil {
		return fmt.Errorf("unlock the terminal: %w", err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return fmt.Errorf("open the terminal's other end: %w", errno)
	}
	end := os.NewFile(peer, "tty")
	s.child = [3]*os.File{end, end, end}
	if err := end.Chown(int(owner), -1); err != nil {
		return fmt.Errorf("give the terminal to the user: %w", err)
	}
	s.in, s.out = s.tty, s.tty
	return s.resize(p.Width, p.Height)
}

// number is the terminal's name in its file system.
func (s *stdio) number() (uint32, error) {
	var n uint32
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, s.tty.Fd(), unix.TIOCGPTN, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0, fmt.Errorf("terminal's number: %w", errno)
	}
	return n, nil
}

func (s *stdio) resize(width, height uint32) error {
	if s.tty == nil {
		return fmt.Errorf("%w: the process has no terminal", errdefs.ErrFailedPrecondition)
	}
	if width == 0 || height == 0 {
		return nil
	}
	size := &unix.Winsize{Row: uint16(height), Col: uint16(width)}
	return s.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
}

// control calls f with the terminal's descriptor, kept in non-blocking mode.
func (s *stdio) control(f func(fd int) error) error {
	raw, err := s.tty.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// handedOver closes the process's ends, so that the agent's see the end.
func (s *stdio) handedOver() {
	for i, f := range s.child {
		if f != nil {
			f.Close()
		}
		s.child[i] = nil
	}
}

func (s *stdio) close() {
	s.handedOver()
	for _, f := range []*os.File{s.in, s.out, s.err} {
		if f != nil {
			f.Close()
		}
	}
}

// send copies output to the host until the process closes it. It must be
// called before the process starts: what is not being copied then is not
// awaited at the end.
func (s *stdio) send(f *os.File) (func(wire.Stream), error) {
	if f == nil {
		return nil, fmt.Errorf("%w: the process has no such output", errdefs.ErrFailedPrecondition)
	}
	s.copying.Add(1)
	return func(stream wire.Stream) {
		defer s.copying.Done()
		// A terminal whose other end is closed reads as an I/O error.
		if _, err := io.Copy(stream, f); err != nil && !errors.Is(err, unix.EIO) {
			_, _ = io.Copy(io.Discard, f) // the host is gone: do not block the process
		}
		_ = stream.CloseWrite()
	}, nil
}

// receive copies the host's input until it ends.
func (s *stdio) receive() (func(wire.Stream), error) {
	if s.in == nil {
		return nil, fmt.Errorf("%w: the process has no input", errdefs.ErrFailedPrecondition)
	}
	return func(stream wire.Stream) {
		// Nothing is sent here. So the host's end of the input ends the stream, and
		// it waits for no process that takes its time to read what has come.
		_ = stream.CloseWrite()
		_, _ = io.Copy(s.in, stream)
		if s.tty == nil {
			s.in.Close()
		}
		_, _ = io.Copy(io.Discard, stream)
	}, nil
}

// drained waits until all output is sent, at most for limit.
func (s *stdio) drained(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		s.copying.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}
