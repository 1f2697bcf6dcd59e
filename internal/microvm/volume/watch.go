package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a change is awaited to be complete.
const settle = 50 * time.Millisecond

// Watcher tells when copied volumes change on the host.
type Watcher struct {
	notify *fsnotify.Watcher

	mu    sync.Mutex // guards plans
	plans map[string]Plan
}

// NewWatcher makes a Watcher that watches nothing yet.
func NewWatcher() (*Watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch volumes: %w", err)
	}
	return &Watcher{notify: notify, plans: map[string]Plan{}}, nil
}

// Add watches a volume; adding one again changes nothing.
func (w *Watcher) Add(p Plan) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, watched := w.plans[p.Source]; watched {
		return nil
	}
	if err := w.notify.Add(p.Source); err != nil {
		return fmt.Errorf("watch volume %s: %w", p.Source, err)
	}
	w.plans[p.Source] = p
	return nil
}

// Run calls changed for each volume that has changed, until ctx ends.
func (w *Watcher) Run(ctx context.Context, changed func(Plan)) {
	defer w.notify.Close()
	pending := map[string]Plan{}
	timer := time.NewTimer(0)
	<-timer.C
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.notify.Events:
			if !ok {
				return
			}
			if p, ok := w.of(e.Name); ok {
				pending[p.Source] = p
				timer.Reset(settle)
			}
		case <-w.notify.Errors:
			// Events were lost: every volume may have changed.
			w.mu.Lock()
			for source, p := range w.plans {
				pending[source] = p
			}
			w.mu.Unlock()
			timer.Reset(settle)
		case <-timer.C:
			for source, p := range pending {
				delete(pending, source)
				changed(p)
			}
		}
	}
}

// of finds the volume that a changed path belongs to.
func (w *Watcher) of(path string) (Plan, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for source, p := range w.plans {
		if path == source || len(path) > len(source) && path[:len(source)+1] == source+"/" {
			return p, true
		}
	}
	return Plan{}, false
}

// IsGone says that a volume was removed, as with its pod.
func IsGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
