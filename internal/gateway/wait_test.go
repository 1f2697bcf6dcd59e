package gateway

import (
	"strconv"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
)

// until waits for something that happens in another goroutine.
func (r *rig) until(what string, happened func() bool) {
	r.Helper()
	for end := time.Now().Add(10 * time.Second); !happened(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("it never happened that %s", what)
		}
	}
}

func (r *rig) load(revision string) (l balance.Load) {
	r.gateway.table.Revisions(func(rev *balance.Revision) {
		if rev.Name.Name == revision {
			l = rev.Load(time.Now())
		}
	})
	return l
}

func portText(port int) string { return strconv.Itoa(port) }
