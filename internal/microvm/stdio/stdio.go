// Package stdio copies a process's standard files between the guest and what
// containerd named for them: named pipes, or a file that output is added to.
package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/fifo"
	"golang.org/x/sync/errgroup"
	"redoubt.dev/redoubt/internal/wire"
)

// Paths are where a process's standard files are on the host; empty is
// nowhere. A terminal has no Stderr.
type Paths struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
}

// Copier copies until the process's output has ended.
type Copier struct {
	output sync.WaitGroup
	mu     sync.Mutex // guards what follows
	input  io.Closer  // keeps the pipe of the input from ending
	files  []io.Closer

	waiting int           // outputs that wait for their readers
	since   time.Time     // when that was so
	waited  time.Duration // by outputs until then
}

// Attach connects paths with the process that ref names in the guest, which
// must not have started. The copying ends with ctx at the latest.
func Attach(ctx context.Context, session *wire.Session, ref *wire.Ref, paths Paths) (_ *Copier, err error) {
	c := &Copier{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	// All at once: each answer takes longer to come than the guest needs for it.
	var opening errgroup.Group
	for method, path := range map[wire.Method]string{wire.Stdin: paths.Stdin, wire.Stdout: paths.Stdout, wire.Stderr: paths.Stderr} {
		if path != "" && !(paths.Terminal && method == wire.Stderr) {
			opening.Go(func() error { return c.open(ctx, session, ref, method, path) })
		}
	}
	return c, opening.Wait()
}

// open connects one of the process's files.
func (c *Copier) open(ctx context.Context, session *wire.Session, ref *wire.Ref, method wire.Method, path string) error {
	stream, err := session.Open(ctx, method, ref, &wire.Empty{})
	if err != nil {
		return err
	}
	c.keep(both{stream})
	if method == wire.Stdin {
		return c.send(ctx, stream, path)
	}
	return c.receive(ctx, stream, path)
}

// both closes a stream in both directions. Its own Close ends one, and whoever
// reads the other would wait for a guest that may never end it: the output
// would not be closed either, for which containerd waits.
type both struct{ wire.Stream }

func (b both) Close() error {
	return errors.Join(b.SetDeadline(time.Unix(0, 1)), b.Stream.Close())
}

func (c *Copier) keep(f io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = append(c.files, f)
}

// receive copies output to where the URI or path says.
func (c *Copier) receive(ctx context.Context, stream wire.Stream, uri string) error {
	to, err := c.openOutput(ctx, uri)
	if err != nil {
		return err
	}
	c.output.Go(func() {
		if _, err := io.Copy(read{to, c}, stream); err != nil {
			// Nobody reads any more: the process must not block.
			_, _ = io.Copy(io.Discard, stream)
		}
		_ = to.Close()
	})
	return nil
}

// read is an output of c's that notes how long it waits for its reader.
type read struct {
	io.Writer
	c *Copier
}

func (r read) Write(p []byte) (int, error) {
	r.c.wait(1)
	defer r.c.wait(-1)
	return r.Writer.Write(p)
}

// wait notes that so many more outputs wait.
func (c *Copier) wait(more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting > 0 {
		c.waited += time.Since(c.since)
	}
	c.waiting, c.since = c.waiting+more, time.Now()
}

// Waited is how long there has been output that waited for its reader.
func (c *Copier) Waited() time.Duration {
	c.wait(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waited
}

func (c *Copier) openOutput(ctx context.Context, uri string) (io.WriteCloser, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("%w: output %q: %w", errdefs.ErrInvalidArgument, uri, err)
	}
	switch u.Scheme {
	case "", "fifo":
		return c.openFIFO(ctx, u.Path)
	case "file":
		if err := os.MkdirAll(filepath.Dir(u.Path), 0o755); err != nil {
			return nil, fmt.Errorf("open output: %w", err)
		}
		return os.OpenFile(u.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	}
	return nil, fmt.Errorf("%w: output to %s://; use a named pipe or file://", errdefs.ErrInvalidArgument, u.Scheme)
}

// openFIFO opens a pipe for writing. A reading end is kept too, so that a
// reader that goes away and comes back (containerd restarting) finds what was
// written meanwhile, and the process does not see the pipe break.
func (c *Copier) openFIFO(ctx context.Context, path string) (io.WriteCloser, error) {
	w, err := fifo.OpenFifo(ctx, path, syscall.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open output: %w", err)
	}
	r, err := fifo.OpenFifo(ctx, path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open output: %w", err), w.Close())
	}
	c.keep(r)
	return w, nil
}

// send copies input. Only CloseInput ends it: a client that goes away may come
// back, so a writing end is kept.
func (c *Copier) send(ctx context.Context, stream wire.Stream, path string) error {
	from, err := fifo.OpenFifo(ctx, path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open input: %w", err)
	}
	c.keep(from)
	keeper, err := fifo.OpenFifo(ctx, path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open input: %w", err)
	}
	c.keep(keeper)
	c.mu.Lock()
	c.input = keeper
	c.mu.Unlock()
	go func() {
		_, _ = io.Copy(stream, from)
		_ = stream.CloseWrite()
	}()
	return nil
}

// CloseInput gives the process an end of its input, after what is there.
func (c *Copier) CloseInput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.input != nil {
		_ = c.input.Close()
	}
}

// Drain waits until all output is where it belongs, at most for limit, and says
// whether it is.
func (c *Copier) Drain(limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		c.output.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

// Close ends all copying.
func (c *Copier) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.files {
		_ = f.Close()
	}
	c.files = nil
}
