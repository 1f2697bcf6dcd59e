// Package quota bounds what the services of each tenant get through one gateway:
// requests per second, and cold starts at a time. What one tenant's clients send
// is not to be felt by another's.
package quota

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/gateway/balance"
)

// Limits are a tenant's; 0 is none.
type Limits struct{ RequestsPerSecond, ColdStarts int }

// Read takes them from a namespace's annotations, which the tenant controller
// writes.
func Read(annotations map[string]string) Limits {
	number := func(key string) int {
		n, _ := strconv.ParseUint(annotations[key], 10, 31) // none where there is no number
		return int(n)
	}
	return Limits{RequestsPerSecond: number(redoubt.RequestsAnnotation), ColdStarts: number(redoubt.ColdStartsAnnotation)}
}

// Book has the tenants that have limits, by namespace. It is ready for use by
// many goroutines once it is made.
type Book struct {
	mu      sync.RWMutex
	tenants map[string]*tenant // guarded by mu
}

// New returns an empty book.
func New() *Book { return &Book{tenants: map[string]*tenant{}} }

// SetNamespace takes in a namespace with its tenant, which may be empty.
func (b *Book) SetNamespace(namespace, name string, limits Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.named(name) // before this namespace is taken off, which may be its only one
	delete(b.tenants, namespace)
	if name == "" || limits == (Limits{}) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits = limits
	b.tenants[namespace] = t
}

// named is what all namespaces of a tenant share; b.mu is held.
func (b *Book) named(name string) *tenant {
	for _, t := range b.tenants {
		if t.name == name {
			return t
		}
	}
	return &tenant{name: name}
}

// DeleteNamespace forgets a namespace.
func (b *Book) DeleteNamespace(namespace string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tenants, namespace)
}

// Of is the tenant of a namespace, nil where nothing is bounded.
func (b *Book) Of(namespace string) balance.Tenant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if t := b.tenants[namespace]; t != nil {
		return t
	}
	return nil
}

type tenant struct {
	name string

	mu       sync.Mutex
	limits   Limits    // guarded by mu, as are all below
	due      time.Time // when all requests so far would be over, evenly spread
	starting int       // revisions
}

// Request lets a second's requests through at once, and then as many as time
// makes room for.
func (t *tenant) Request(now time.Time) *balance.Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	most := t.limits.RequestsPerSecond
	if most == 0 {
		return nil
	}
	if t.due.Before(now) {
		t.due = now
	}
	if t.due.Sub(now) >= time.Second {
		return &balance.Refusal{Status: http.StatusTooManyRequests, Message: fmt.Sprintf(
			"the services of this tenant have had their %d requests of this second; try again later", most)}
	}
	t.due = t.due.Add(time.Second / time.Duration(most))
	return nil
}

func (t *tenant) Start() *balance.Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	if most := t.limits.ColdStarts; most > 0 && t.starting >= most {
		return &balance.Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf(
			"%d services of this tenant are starting already; try again later", t.starting)}
	}
	t.starting++
	return nil
}

func (t *tenant) Started() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starting--
}
