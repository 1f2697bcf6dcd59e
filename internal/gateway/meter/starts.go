package meter

import (
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/load"
)

// starts are the last waits of requests for an instance that did not run.
type starts struct {
	mu   sync.Mutex
	last []load.Start // guarded by mu; in order of time
}

func (s *starts) add(kind load.StartKind, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = load.Recent(append(s.last, load.Start{At: time.Now(), Kind: kind, Took: took}))
}

func (s *starts) since(t time.Time) (found []load.Start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, start := range s.last {
		if start.At.After(t) {
			found = append(found, start)
		}
	}
	return found
}
