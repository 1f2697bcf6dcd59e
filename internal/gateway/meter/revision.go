// Package meter counts what the gateway does, per revision, and shows it to
// Prometheus. Counting is a few atomic additions: it is on the path of every
// request.
package meter

import (
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/internal/load"
)

// buckets are the upper bounds of the latency histograms.
var buckets = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second,
}

// classes are the classes of status codes, 1xx to 5xx; whatever an instance
// invents counts as 5xx.
const classes = 5

// Revision is what is counted of one revision. Its methods may be called from
// any goroutine.
type Revision struct {
	name      types.NamespacedName
	requests  [classes]atomic.Uint64
	latency   histogram
	coldStart histogram
	thaw      histogram
	retries   atomic.Uint64
	starts    starts
}

// New returns counters at zero.
func New(name types.NamespacedName) *Revision { return &Revision{name: name} }

// Request counts an answered request and how long it took.
func (r *Revision) Request(status int, took time.Duration) {
	class := status/100 - 1
	if class < 0 || class >= classes {
		class = classes - 1
	}
	r.requests[class].Add(1)
	r.latency.add(took)
}

// Starts are the last requests after t that had to wait for an instance to be
// created or thawed.
func (r *Revision) Starts(t time.Time) []load.Start { return r.starts.since(t) }

// ColdStart counts a request that had to wait because no instance was ready,
// and how long it waited.
func (r *Revision) ColdStart(took time.Duration) {
	r.coldStart.add(took)
	r.starts.add(load.Created, took)
}

// Thaw counts a request that had to wait because its instance was frozen, and
// how long it waited.
func (r *Revision) Thaw(took time.Duration) {
	r.thaw.add(took)
	r.starts.add(load.Thawed, took)
}

// Retry counts a request that was sent to another instance.
func (r *Revision) Retry() { r.retries.Add(1) }

type histogram struct {
	counts [len(buckets) + 1]atomic.Uint64
	sum    atomic.Int64 // in nanoseconds
}

func (h *histogram) add(d time.Duration) {
	at := 0
	for at < len(buckets) && d > buckets[at] {
		at++
	}
	h.counts[at].Add(1)
	h.sum.Add(int64(d))
}

// read returns the number, the sum in seconds, and how many were at most each
// bound, as Prometheus has them.
func (h *histogram) read() (uint64, float64, map[float64]uint64) {
	cumulative := make(map[float64]uint64, len(buckets))
	var n uint64
	for at, bound := range buckets {
		n += h.counts[at].Load()
		cumulative[bound.Seconds()] = n
	}
	n += h.counts[len(buckets)].Load()
	return n, time.Duration(h.sum.Load()).Seconds(), cumulative
}
