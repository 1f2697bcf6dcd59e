package holds

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/hold"
)

const (
	// firstPause and lastPause are between attempts to connect: a node role
	// that was restarted is back at once, a node that is gone never.
	firstPause = 50 * time.Millisecond
	lastPause  = 10 * time.Second
	// givenUp is how long a node may be unreachable before it is forgotten; it
	// is tried anew when an instance asks for it.
	givenUp = 5 * time.Minute
	// writeLimit is how long a node may take to read.
	writeLimit = 5 * time.Second
)

// node is one node's connection, made again whenever it ends.
type node struct {
	address string
	wake    chan struct{} // holds one when there is something to say

	mu       sync.Mutex
	up       bool            // guarded by mu, as are all below
	unsaid   []hold.Request  // not said yet
	waiting  map[string]wait // by the pod's UID
	released map[string]struct{}
}

// wait is for one pod to run.
type wait struct {
	done  chan struct{}
	limit *time.Timer
}

func newNode(address string) *node {
	return &node{address: address, wake: make(chan struct{}, 1), waiting: map[string]wait{}, released: map[string]struct{}{}}
}

func (n *node) connected() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up
}

// release lets a pod be frozen, now or once there is a connection.
func (n *node) release(uid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.released[uid] = struct{}{}
	n.enqueue(hold.Request{Release: uid})
}

// enqueue sends r soon. Without a connection the node takes everything as
// held; n.mu is held.
func (n *node) enqueue(r hold.Request) {
	if !n.up {
		return
	}
	n.unsaid = append(n.unsaid, r)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// hold returns a channel that is closed when the pod runs, or when the node
// has not answered for hold.Patience: the request is worth a try then.
func (n *node) hold(uid string) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.released, uid)
	n.enqueue(hold.Request{Hold: uid})
	w, ok := n.waiting[uid]
	if !ok {
		w = wait{done: make(chan struct{}), limit: time.AfterFunc(hold.Patience, func() { n.held(uid) })}
		n.waiting[uid] = w
	}
	return w.done
}

// held ends the wait for a pod.
func (n *node) held(uid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w, ok := n.waiting[uid]; ok {
		w.limit.Stop()
		delete(n.waiting, uid)
		close(w.done)
	}
}

// run keeps connecting until ctx ends or the node seems gone.
func (n *node) run(ctx context.Context, dial Dial) {
	pause, lost, complained := firstPause, time.Now(), false
	for ctx.Err() == nil && time.Since(lost) < givenUp {
		conn, err := dial(ctx, n.address)
		if err == nil {
			n.follow(ctx, conn)
			pause, lost, complained = firstPause, time.Now(), false
		} else if !complained && ctx.Err() == nil {
			complained = true
			slog.Warn("node freezes nothing for this gateway", "address", n.address, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// follow speaks and listens until the connection ends.
func (n *node) follow(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var speaking sync.WaitGroup
	defer speaking.Wait()
	defer cancel()
	n.begin()
	defer n.end()
	speaking.Go(func() {
		defer cancel()
		n.speak(ctx, conn)
	})
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, hold.MaxLine)
	for lines.Scan() {
		var answer hold.Answer
		if json.Unmarshal(lines.Bytes(), &answer) != nil {
			return
		}
		n.held(answer.Held)
	}
}

// begin says again what the node has forgotten with the last connection. It
// asks for those that somebody waits for: the node may not have thawed them yet.
func (n *node) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up, n.unsaid = true, nil
	for uid := range n.waiting {
		n.enqueue(hold.Request{Hold: uid})
	}
	for uid := range n.released {
		n.enqueue(hold.Request{Release: uid})
	}
}

func (n *node) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up, n.unsaid = false, nil
}

func (n *node) speak(ctx context.Context, conn net.Conn) {
	out := json.NewEncoder(conn)
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		n.mu.Lock()
		all := n.unsaid
		n.unsaid = nil
		n.mu.Unlock()
		for _, r := range all {
			_ = conn.SetWriteDeadline(time.Now().Add(writeLimit))
			if out.Encode(r) != nil {
				return
			}
		}
	}
}
