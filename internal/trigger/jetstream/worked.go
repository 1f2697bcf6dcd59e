package jetstream

import (
	"maps"
	"slices"
	"sync"
)

// worked counts how often each message has come to be worked on, by its place in
// the stream. The server counts deliveries, of which some reach nobody. The zero
// value is ready to use.
type worked struct {
	mu    sync.Mutex
	times map[uint64]int // guarded by mu
}

// count returns how often a message was worked on, with this time if it was.
func (w *worked) count(message uint64, reached bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !reached {
		return w.times[message]
	}
	if w.times == nil {
		w.times = map[uint64]int{}
	}
	w.times[message]++
	n := w.times[message]
	if len(w.times) > maxPending { // one was settled elsewhere, or grew too old
		delete(w.times, slices.Min(slices.Collect(maps.Keys(w.times))))
	}
	return n
}

func (w *worked) forget(message uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.times, message)
}
