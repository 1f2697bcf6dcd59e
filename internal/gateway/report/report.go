// Package report streams the load of every revision to whoever asks, in
// practice the autoscaler (see package load for the format).
package report

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/load"
)

// urgentPause is the least time between two reports that somebody waits for
// the same revision.
const urgentPause = 100 * time.Millisecond

// Revisions calls back for every revision.
type Revisions func(yield func(*balance.Revision))

// Reporter serves load.Path. Set Revisions before it is used.
type Reporter struct {
	// Gateway names this gateway in the reports.
	Gateway   string
	Revisions Revisions

	mu        sync.Mutex
	listeners map[*listener]struct{} // guarded by mu
}

// Waits tells every listener at once that a request waits for r. It does not
// block.
func (p *Reporter) Waits(r *balance.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.listeners {
		l.urgent(r)
	}
}

// ServeHTTP answers with reports until the client leaves.
func (p *Reporter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	l := newListener()
	p.mu.Lock()
	if p.listeners == nil {
		p.listeners = map[*listener]struct{}{}
	}
	p.listeners[l] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.listeners, l)
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	p.stream(req.Context(), w, l)
}

// stream reports what waits already, then whatever comes.
func (p *Reporter) stream(ctx context.Context, w http.ResponseWriter, l *listener) {
	out, flush := json.NewEncoder(w), http.NewResponseController(w).Flush
	send := func(revisions []load.RevisionLoad) bool {
		return out.Encode(load.Report{Gateway: p.Gateway, Revisions: revisions}) == nil && flush() == nil
	}
	l.measure(p.Revisions, time.Now())
	ticker := time.NewTicker(load.Interval)
	defer ticker.Stop()
	for ok := send(waiting(p.Revisions)); ok; {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			ok = send(l.measure(p.Revisions, now))
		case <-l.wake:
			for _, r := range l.take(time.Now()) {
				ok = ok && send([]load.RevisionLoad{r})
			}
		}
	}
}

// waiting are the revisions that somebody waits for, as a new listener has to
// know them.
func waiting(revisions Revisions) []load.RevisionLoad {
	all := []load.RevisionLoad{}
	revisions(func(r *balance.Revision) {
		if n := r.Load(time.Now()).Waiting; n > 0 {
			all = append(all, load.RevisionLoad{Namespace: r.Name.Namespace, Name: r.Name.Name, Waiting: n})
		}
	})
	return all
}
