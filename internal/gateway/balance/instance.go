package balance

import (
	"net/netip"

	"redoubt.dev/redoubt/internal/gateway/upstream"
)

// Instance is one pod that takes requests.
type Instance struct {
	// Name is the pod's.
	Name string
	// Address is where it listens.
	Address netip.AddrPort
	// Conns are connections that speak HTTP/1.1. They stay open while the
	// instance is ready.
	Conns *upstream.Pool

	suspect func(*Instance)

	// Both are guarded by the revision's lock.
	active int
	ready  bool
}

// NewInstance returns an instance that no revision has yet. Suspect is called,
// in any goroutine and perhaps several times, when it does not take a
// connection any more.
func NewInstance(name string, address netip.AddrPort, suspect func(*Instance)) *Instance {
	return &Instance{Name: name, Address: address, Conns: upstream.NewPool(address), suspect: suspect}
}

// Suspect reports that the instance took no connection.
func (i *Instance) Suspect() { i.suspect(i) }

// takes says whether the instance has room for one more request; the
// revision's lock is held.
func (i *Instance) takes(limit int) bool { return limit == 0 || i.active < limit }
