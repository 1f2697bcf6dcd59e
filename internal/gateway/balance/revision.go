// Package balance gives each request an instance of its revision: the one with
// the fewest requests, or, while none is ready or all are full, a place in a
// bounded queue that is served in order.
//
// A request calls Enter, perhaps Again when its instance turns out to be gone,
// and Leave, always. In between, Load tells how busy the revision is. The
// package knows no protocol.
package balance

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/internal/gateway/meter"
)

const (
	// maxWaiting bounds a revision's queue (breakerQueueDepth of Knative's
	// activator).
	maxWaiting = 10_000
	// scanned is up to how many instances are compared for each request; of
	// more, two at random are, which is nearly as even and does not slow down
	// with their number.
	scanned = 16
)

// Revision is one revision's instances, queue and load.
type Revision struct {
	Name  types.NamespacedName
	Meter *meter.Revision

	settings atomic.Pointer[Settings]
	waits    func(*Revision)
	tenant   func(namespace string) Tenant

	mu      sync.Mutex
	ready   []*Instance // guarded by mu, as are all below
	next    int         // where the next search begins, so that ties are spread
	queue   queue
	failure string // why no instance can start; empty when one may
	load    account
	// starting is whose cold start this is; nil where it is none, or nobody
	// counts.
	starting Tenant
}

// New returns a revision without instances. Waits is called, without a lock,
// for each request that finds no ready instance: it must not block. Tenant says
// who bounds what a namespace gets; nil is nobody.
func New(name types.NamespacedName, settings Settings, waits func(*Revision), tenant func(namespace string) Tenant) *Revision {
	r := &Revision{Name: name, Meter: meter.New(name), waits: waits, tenant: tenant}
	r.settings.Store(&settings)
	return r
}

// Settings are the present ones; they must not be changed.
func (r *Revision) Settings() *Settings { return r.settings.Load() }

// Configure replaces the settings.
func (r *Revision) Configure(settings Settings) {
	r.settings.Store(&settings)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serveQueue()
}

// Fail says why no instance can start; an empty reason means that one may.
// Without a ready instance, those who wait are refused with it.
func (r *Revision) Fail(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = why
	r.refuseQueue()
}

// refuseQueue ends every wait when none can end well; r.mu is held.
func (r *Revision) refuseQueue() {
	if r.failure == "" || len(r.ready) > 0 {
		return
	}
	for w := r.queue.pop(); w != nil; w = r.queue.pop() {
		w.granted <- nil
	}
}

// Add makes an instance ready for requests.
func (r *Revision) Add(i *Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i.ready {
		return
	}
	i.ready, i.idle = true, time.Now()
	i.Conns.Open()
	r.ready = append(r.ready, i)
	r.started()
	r.serveQueue()
}

// Remove sends no more requests to an instance; those it has go on. It says
// whether the instance was ready.
func (r *Revision) Remove(i *Instance) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !i.ready {
		return false
	}
	i.ready = false
	if i.released {
		r.hold(i) // it may come back, or has something to do before it ends
	}
	i.Conns.Close()
	for at, other := range r.ready {
		if other == i {
			r.ready = append(r.ready[:at], r.ready[at+1:]...)
			break
		}
	}
	r.refuseQueue()
	return true
}

// pick finds the least loaded instance with room, nil when there is none; r.mu
// is held.
func (r *Revision) pick() *Instance {
	n, limit := len(r.ready), r.Settings().Concurrency
	if n == 0 {
		return nil
	}
	if n > scanned {
		a, b := r.ready[rand.IntN(n)], r.ready[rand.IntN(n)]
		if b.before(a) {
			a = b
		}
		if a.takes(limit) {
			return a
		}
	}
	r.next++
	var best *Instance
	for at := range n {
		i := r.ready[(r.next+at)%n]
		if i.takes(limit) && (best == nil || i.before(best)) {
			best = i
			if i.active == 0 && !i.released {
				break
			}
		}
	}
	return best
}

// serveQueue hands free instances to those who wait; r.mu is held.
func (r *Revision) serveQueue() {
	for r.queue.len() > 0 {
		i := r.pick()
		if i == nil {
			return
		}
		r.take(i)
		r.queue.pop().granted <- i
	}
}

// Load is how busy the revision has been and is.
func (r *Revision) Load(now time.Time) Load {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load.count(now, 0)
	return Load{Area: r.load.area, Arrived: r.load.arrived, Active: r.load.active, Waiting: r.queue.len(), Ready: len(r.ready)}
}
