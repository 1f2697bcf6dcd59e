// Package holds tells nodes which of their pods this gateway uses (see package
// hold), over one connection to each node that has instances.
package holds

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"redoubt.dev/redoubt/internal/gateway/balance"
)

// Dial connects to the node at address.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// Nodes is a balance.Keeper. Close ends its connections.
type Nodes struct {
	dial Dial
	port int

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu    sync.Mutex
	nodes map[netip.Addr]*node // guarded by mu
}

var _ balance.Keeper = (*Nodes)(nil)

// New connects to nodes at port as they become known.
func New(dial Dial, port int) *Nodes {
	ctx, cancel := context.WithCancel(context.Background())
	return &Nodes{dial: dial, port: port, ctx: ctx, cancel: cancel, nodes: map[netip.Addr]*node{}}
}

// Close ends every connection, which thaws what was released.
func (n *Nodes) Close() {
	n.cancel()
	n.tasks.Wait()
}

// Connected begins to connect to a node that it is asked of first.
func (n *Nodes) Connected(i *balance.Instance) bool { return n.node(i.Node).connected() }

// Release lets the instance be frozen.
func (n *Nodes) Release(i *balance.Instance) { n.node(i.Node).release(i.UID) }

// Hold asks for the instance back.
func (n *Nodes) Hold(i *balance.Instance) <-chan struct{} { return n.node(i.Node).hold(i.UID) }

func (n *Nodes) node(address netip.Addr) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := n.nodes[address]
	if known == nil {
		known = newNode(net.JoinHostPort(address.String(), strconv.Itoa(n.port)))
		n.nodes[address] = known
		n.tasks.Go(func() {
			known.run(n.ctx, n.dial)
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.nodes, address)
		})
	}
	return known
}
