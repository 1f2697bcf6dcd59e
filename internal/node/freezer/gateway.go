package freezer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/hold"
)

const (
	// maxGateways bounds the connections, those that have proved nothing yet
	// among them.
	maxGateways = 128
	// maxReleased bounds what one gateway may have released: a node has fewer
	// pods by far.
	maxReleased = 16 << 10
	// answerLimit is how long a gateway may take to read an answer.
	answerLimit = 5 * time.Second
	// acceptPause is the time between two tries to take a gateway: what is short,
	// as files are, may come back.
	acceptPause = 100 * time.Millisecond
)

// gateway is one connection.
type gateway struct{ released map[string]bool } // guarded by the freezer's mu

// Serve takes gateways until ctx ends, and thaws everything then. It closes
// the listener. Where that is closed by somebody else, it ends the connections
// and fails.
func (f *Freezer) Serve(ctx context.Context, l net.Listener) error {
	defer f.thawAll()
	var connections sync.WaitGroup
	defer connections.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	places := make(chan struct{}, maxGateways)
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept gateways: %w", err)
		}
		if err != nil {
			slog.Error("accept gateways", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		connections.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			if err := f.serve(ctx, conn); err != nil && ctx.Err() == nil {
				slog.Warn("gateway", "address", conn.RemoteAddr().String(), "error", err)
			}
		})
	}
}

func (f *Freezer) serve(ctx context.Context, conn net.Conn) error {
	if err := hold.Handshake(ctx, conn); err != nil {
		return err
	}
	g := f.connect()
	defer f.disconnect(ctx, g)
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, hold.MaxLine)
	answers := json.NewEncoder(conn)
	for lines.Scan() {
		var r hold.Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("read what it says: %w", err)
		}
		if r.Release != "" {
			if err := f.release(ctx, g, r.Release); err != nil {
				return err
			}
		}
		if r.Hold != "" {
			f.hold(g, r.Hold)
			_ = conn.SetWriteDeadline(time.Now().Add(answerLimit))
			if err := answers.Encode(hold.Answer{Held: r.Hold}); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// connect adds a gateway, which holds everything.
func (f *Freezer) connect() *gateway {
	g := &gateway{released: map[string]bool{}}
	f.mu.Lock()
	f.gateways[g] = struct{}{}
	f.mu.Unlock()
	f.thawAll()
	return g
}

// disconnect takes a gateway away, and freezes nothing for a while. What the
// others have released is frozen again then.
func (f *Freezer) disconnect(ctx context.Context, g *gateway) {
	f.mu.Lock()
	delete(f.gateways, g)
	f.after = time.Now().Add(grace)
	f.mu.Unlock()
	f.thawAll()
	time.AfterFunc(grace, func() { f.freezeReleased(ctx) })
}

func (f *Freezer) release(ctx context.Context, g *gateway, uid string) error {
	f.mu.Lock()
	full := len(g.released) >= maxReleased
	if !full {
		g.released[uid] = true
	}
	f.mu.Unlock()
	if full {
		return errors.New("it has released more pods than a node can have")
	}
	go f.tryFreeze(ctx, uid)
	return nil
}

// Known freezes a pod that has become known, if a gateway released it before.
func (f *Freezer) Known(ctx context.Context, uid string) {
	f.mu.Lock()
	released := f.released(uid)
	f.mu.Unlock()
	if released {
		go f.tryFreeze(ctx, uid)
	}
}

func (f *Freezer) hold(g *gateway, uid string) {
	f.mu.Lock()
	delete(g.released, uid)
	f.mu.Unlock()
	f.thaw(uid)
}

func (f *Freezer) freezeReleased(ctx context.Context) {
	f.mu.Lock()
	all := map[string]struct{}{}
	for g := range f.gateways {
		for uid := range g.released {
			all[uid] = struct{}{}
		}
	}
	f.mu.Unlock()
	for uid := range all {
		f.tryFreeze(ctx, uid)
	}
}

// tryFreeze leaves a pod running that cannot be frozen: it only costs more.
func (f *Freezer) tryFreeze(ctx context.Context, uid string) {
	if err := f.freeze(ctx, uid); err != nil && ctx.Err() == nil {
		slog.Warn("pod goes on although nobody needs it", "uid", uid, "error", err)
	}
}
