package table

import (
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/gateway/balance"
)

// SetRoute adds or replaces a route.
func (t *Table) SetRoute(route *serving.Route) {
	e := newEntry(route)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeTags(t.routes[e.name])
	t.routes[e.name], t.hosts[e.host()] = e, e
	for tag := range e.tags {
		t.tagged[tag+"-"+e.host()] = e
	}
}

// DeleteRoute removes a route.
func (t *Table) DeleteRoute(name types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.routes[name]
	if e == nil {
		return
	}
	t.removeTags(e)
	delete(t.hosts, e.host())
	delete(t.routes, name)
}

// removeTags takes back an entry's tagged hosts, but not those that another
// route has taken over; t.mu is held.
func (t *Table) removeTags(e *entry) {
	if e == nil {
		return
	}
	for tag := range e.tags {
		if host := tag + "-" + e.host(); t.tagged[host] == e {
			delete(t.tagged, host)
		}
	}
}

// SetRevision adds a revision or changes its settings, and returns it.
func (t *Table) SetRevision(name types.NamespacedName, settings balance.Settings) *balance.Revision {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.revisions[name]
	if r == nil {
		r = balance.New(name, settings, t.waits, t.tenant)
		t.revisions[name] = r
		return r
	}
	r.Configure(settings)
	return r
}

// DeleteRevision removes a revision; who waits for it is refused.
func (t *Table) DeleteRevision(name types.NamespacedName) {
	t.mu.Lock()
	r := t.revisions[name]
	delete(t.revisions, name)
	t.mu.Unlock()
	if r != nil {
		r.Fail("it was deleted")
	}
}

// Revisions calls back for every revision.
func (t *Table) Revisions(yield func(*balance.Revision)) {
	t.mu.RLock()
	all := make([]*balance.Revision, 0, len(t.revisions))
	for _, r := range t.revisions {
		all = append(all, r)
	}
	t.mu.RUnlock()
	for _, r := range all {
		yield(r)
	}
}
