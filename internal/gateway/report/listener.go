package report

import (
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/load"
)

// listener is one who gets reports.
type listener struct {
	wake chan struct{} // holds one when take has something to give

	mu      sync.Mutex
	pending map[*balance.Revision]struct{}  // guarded by mu
	told    map[*balance.Revision]time.Time // guarded by mu; the last urgent report

	// Only its own goroutine uses these.
	measured time.Time
	last     map[*balance.Revision]balance.Load
}

func newListener() *listener {
	return &listener{
		wake:    make(chan struct{}, 1),
		pending: map[*balance.Revision]struct{}{},
		told:    map[*balance.Revision]time.Time{},
	}
}

// urgent notes that somebody waits for r.
func (l *listener) urgent(r *balance.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.told[r]) < urgentPause {
		return
	}
	l.pending[r] = struct{}{}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take returns the urgent reports. They carry no load: that comes with the
// next regular one, and must not be counted twice.
func (l *listener) take(now time.Time) []load.RevisionLoad {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []load.RevisionLoad
	for r := range l.pending {
		// A request that was refused waits no more, but asks all the same.
		n := max(r.Load(now).Waiting, 1)
		all = append(all, load.RevisionLoad{Namespace: r.Name.Namespace, Name: r.Name.Name, Waiting: n})
		l.told[r] = now
	}
	clear(l.pending)
	return all
}

// measure returns the load of every revision that had any since the last call.
// One without load is left out: no report is a report of zero.
func (l *listener) measure(revisions Revisions, now time.Time) []load.RevisionLoad {
	elapsed := now.Sub(l.measured).Seconds()
	first := l.measured.IsZero()
	all, next := []load.RevisionLoad{}, map[*balance.Revision]balance.Load{}
	revisions(func(r *balance.Revision) {
		current := r.Load(now)
		next[r] = current
		before, known := l.last[r]
		if first || elapsed <= 0 || !known && current.Arrived == 0 {
			return
		}
		requests, area := current.Arrived-before.Arrived, current.Area-before.Area
		if requests == 0 && area == 0 && current.Waiting == 0 {
			return
		}
		all = append(all, load.RevisionLoad{
			Namespace: r.Name.Namespace, Name: r.Name.Name,
			Concurrency: area / elapsed, Requests: float64(requests), Waiting: current.Waiting,
			Starts: r.Meter.Starts(l.measured),
		})
	})
	l.last, l.measured = next, now
	l.forget(next)
	return all
}

// forget drops what is remembered of revisions that are gone.
func (l *listener) forget(present map[*balance.Revision]balance.Load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.told {
		if _, ok := present[r]; !ok {
			delete(l.told, r)
		}
	}
}
