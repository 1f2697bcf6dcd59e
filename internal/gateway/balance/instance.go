package balance

import (
	"net/netip"
	"sync/atomic"
	"time"

	"redoubt.dev/redoubt/internal/gateway/upstream"
)

// Instance is one pod that takes requests.
type Instance struct {
	// Name and UID are the pod's, Node the address of its node.
	Name, UID string
	Node      netip.Addr
	// Address is where it listens.
	Address netip.AddrPort
	// Conns are connections that speak HTTP/1.1. They stay open while the
	// instance is ready.
	Conns *upstream.Pool

	suspect func(*Instance)
	keeper  Keeper // nil: it is never frozen

	// These are guarded by the revision's lock.
	active   int
	ready    bool
	released bool      // it may be frozen
	idle     time.Time // since when it has had no request

	// thawing is closed when the instance runs again; nil while it does.
	thawing atomic.Pointer[<-chan struct{}]
}

// Keeper lets nodes freeze instances that no request needs. Its methods do not
// block.
type Keeper interface {
	// Connected says whether the instance's node listens.
	Connected(*Instance) bool
	// Release lets the instance be frozen.
	Release(*Instance)
	// Hold asks for it back; the channel is closed once it runs.
	Hold(*Instance) <-chan struct{}
}

// Kept makes the instance one that its node may freeze while keeper has
// released it.
func (i *Instance) Kept(keeper Keeper, uid string, node netip.Addr) *Instance {
	i.keeper, i.UID, i.Node = keeper, uid, node
	return i
}

// NewInstance returns an instance that no revision has yet. Suspect is called,
// in any goroutine and perhaps several times, when it does not take a
// connection any more.
func NewInstance(name string, address netip.AddrPort, suspect func(*Instance)) *Instance {
	return &Instance{Name: name, Address: address, Conns: upstream.NewPool(address), suspect: suspect}
}

// Suspect reports that the instance took no connection.
func (i *Instance) Suspect() { i.suspect(i) }

// before says whether the instance is the better one for a request: the less
// busy, or of two equal ones the one that runs; the revision's lock is held.
func (i *Instance) before(other *Instance) bool {
	if i.active != other.active {
		return i.active < other.active
	}
	return !i.released && other.released
}

// takes says whether the instance has room for one more request; the
// revision's lock is held.
func (i *Instance) takes(limit int) bool { return limit == 0 || i.active < limit }
