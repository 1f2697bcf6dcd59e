// Package table finds the revision that a request is for: by the host it
// names, the tag it asks for, and the shares of the route.
//
// It is filled from Routes and Revisions as they change, and asked for every
// request.
package table

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/claim"
	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/guard"
)

// Query is what of a request decides where it goes.
type Query struct {
	// Host is the name in the request, in lower case, without a port.
	Host string
	// Path is that of the request's target, without the query; empty asks
	// whether the host leads anywhere.
	Path []byte
	// Tag is the value of TagHeader, usually empty.
	Tag string
	// Public says that the request came from outside the cluster.
	Public bool
	// Client is the address that the request came from.
	Client netip.Addr
}

// TagHeader asks for a route's target by its tag (knative/serving,
// docs/feature tag-header-based-routing).
const TagHeader = "Knative-Serving-Tag"

// Table is ready for use by many goroutines once it is made.
type Table struct {
	domain, clusterDomain string
	waits                 func(*balance.Revision)
	admits                Admits
	tenant                func(namespace string) balance.Tenant

	mu        sync.RWMutex
	hosts     map[string]*entry    // guarded by mu, as are all below; by NAME.NAMESPACE
	tagged    map[string]*entry    // by TAG-NAME.NAMESPACE
	claims    map[string][]claimed // by host, in order; a slice does not change once it is here
	claimants map[claimant]string  // the host that each claims
	routes    map[types.NamespacedName]*entry
	revisions map[types.NamespacedName]*balance.Revision
}

// Admits returns nil where a client may call the services of a namespace.
type Admits func(client netip.Addr, namespace string) *balance.Refusal

// New returns an empty table. Public names end in domain, names inside the
// cluster in svc.clusterDomain, svc or nothing. Waits and tenant are given to
// each revision (see balance.New). Whom admits refuses a namespace is not told
// which services are there.
func New(domain, clusterDomain string, waits func(*balance.Revision), admits Admits, tenant func(namespace string) balance.Tenant) *Table {
	return &Table{
		domain:        "." + domain,
		clusterDomain: ".svc." + clusterDomain,
		waits:         waits,
		admits:        admits,
		tenant:        tenant,
		hosts:         map[string]*entry{},
		tagged:        map[string]*entry{},
		claims:        map[string][]claimed{},
		claimants:     map[claimant]string{},
		routes:        map[types.NamespacedName]*entry{},
		revisions:     map[types.NamespacedName]*balance.Revision{},
	}
}

// Found is where a request goes, and on what terms.
type Found struct {
	Revision *balance.Revision
	// Guard judges the request first; nil lets it through.
	Guard *guard.Guard
	// Cut is how many bytes of the path the instance does not see.
	Cut int
	// Async is the function whose answers need not be waited for; its name is
	// empty where there is none.
	Async types.NamespacedName
}

// Find returns the revision for one request. The error is a *balance.Refusal.
func (t *Table) Find(q Query) (Found, error) {
	e, tag, by := t.entry(&q)
	if namespace := t.namespaceOf(&q, e); namespace != "" {
		if refusal := t.admits(q.Client, namespace); refusal != nil {
			return Found{}, refusal
		}
	}
	if e == nil || !by.opens() && e.local && t.fromOutside(&q) {
		return Found{}, &balance.Refusal{Status: http.StatusNotFound, Message: fmt.Sprintf(
			"no service answers to the host %q: the names are NAME.NAMESPACE%s", shortened(q.Host), t.domain)}
	}
	target, ok := e.target(tag)
	if !ok {
		return Found{}, &balance.Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("route %s is not ready: %s", e.name, e.problem)}
	}
	t.mu.RLock()
	r := t.revisions[target]
	t.mu.RUnlock()
	if r == nil {
		return Found{}, &balance.Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("revision %s of route %s does not exist", target, e.name)}
	}
	found := Found{Revision: r, Cut: by.cut()}
	if e.async {
		found.Async = e.name
	}
	if by != nil {
		found.Guard = by.guard
	}
	return found, nil
}

// namespaceOf is the namespace that a request is for: the one that the host
// names where there is no such service, and empty where it names none.
func (t *Table) namespaceOf(q *Query, e *entry) string {
	if e != nil {
		return e.name.Namespace
	}
	name, _ := t.strip(q.Host)
	_, namespace, _ := strings.Cut(name, ".")
	if strings.Contains(namespace, ".") {
		return "" // longer than the platform's own names
	}
	return shortened(namespace)
}

// Certificate is the guard of the claim whose certificate is to be shown to
// clients that ask for a host; nil where there is none.
func (t *Table) Certificate(host string) *guard.Guard {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := t.claims[host]
	for i := range all {
		if _, own := all[i].guard.Certificate(); own && all[i].Namespace == all[0].Namespace {
			return all[i].guard
		}
	}
	return nil
}

// opens says that the claim lets requests from outside the cluster come to a
// route that is visible inside only: a trigger is made for that.
func (c *claimed) opens() bool { return c != nil && c.Kind == claim.Trigger }

// fromOutside says that the request came from outside the cluster, or names
// what is for those who do.
func (t *Table) fromOutside(q *Query) bool {
	_, public := t.strip(q.Host)
	return public || q.Public
}

// entry returns the route that a request is for, the tag that it asks for, and
// the claim that it falls under, nil where there is none. An entry does not
// change once it is made.
//
// A route's own names go before claims to other hosts. In front of them, for
// who comes from outside, stands what triggers of the route's own namespace
// claim of its public name, whichever of the names is used. NAME.NAMESPACE is for
// the inside: from outside a claim goes before it, as a domain may end as a
// namespace is called, and whoever has that one would have the domain.
func (t *Table) entry(q *Query) (e *entry, tag string, by *claimed) {
	name, public := t.strip(q.Host)
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e, tag = t.hosts[name], q.Tag; e == nil {
		if e = t.tagged[name]; e != nil {
			tag = e.tagOf(name)
		}
	}
	short := name == q.Host // or none of the platform's own names
	if short && q.Public && len(t.claims[name]) > 0 {
		e = nil
	}
	switch {
	case len(t.claims) == 0:
	case e != nil && (public || q.Public):
		by = t.claimOf(e.host()+t.domain, q.Path)
	case public:
		by = t.claimOf(q.Host, q.Path)
	case e == nil && short:
		by = t.claimOf(name, q.Path)
	}
	if by != nil && (e == nil || e.name != by.route) {
		e, tag = t.routes[by.route], q.Tag
	}
	return e, tag, by
}

// strip takes the domain off a host, and says whether it was the public one.
func (t *Table) strip(host string) (name string, public bool) {
	if name, ok := strings.CutSuffix(host, t.domain); ok {
		return name, true
	}
	if name, ok := strings.CutSuffix(host, t.clusterDomain); ok {
		return name, false
	}
	return strings.TrimSuffix(host, ".svc"), false
}

// shortened keeps what a client sent from filling logs.
func shortened(s string) string {
	const most = 253 // the longest name in the DNS
	if len(s) > most {
		return s[:most]
	}
	return s
}

// entry is one route, resolved.
type entry struct {
	name    types.NamespacedName
	local   bool // answers inside the cluster only
	async   bool // is a function whose answers need not be waited for
	shares  []share
	total   int
	tags    map[string]types.NamespacedName
	problem string // why there are no shares
}

// share is one revision's part of 100.
type share struct {
	revision types.NamespacedName
	upTo     int // the shares before it and its own
}

func newEntry(route *serving.Route) *entry {
	e := &entry{
		name:    types.NamespacedName{Namespace: route.Namespace, Name: route.Name},
		local:   route.Labels[serving.VisibilityLabel] == serving.VisibilityClusterLocal,
		async:   route.Labels[kubeless.FunctionLabel] == route.Name && route.Labels[redoubt.AsyncLabel] == "true",
		problem: route.Status.Conditions.Get(serving.Ready).Message,
	}
	if e.problem == "" {
		e.problem = "it has no traffic yet"
	}
	for _, t := range route.Status.Traffic {
		revision := types.NamespacedName{Namespace: route.Namespace, Name: t.RevisionName}
		if t.Percent != nil && *t.Percent > 0 {
			e.total += int(*t.Percent)
			e.shares = append(e.shares, share{revision: revision, upTo: e.total})
		}
		if t.Tag != "" {
			if e.tags == nil {
				e.tags = map[string]types.NamespacedName{}
			}
			e.tags[t.Tag] = revision
		}
	}
	return e
}

func (e *entry) host() string { return e.name.Name + "." + e.name.Namespace }

// tagOf is the tag in one of the entry's tagged hosts.
func (e *entry) tagOf(host string) string { return strings.TrimSuffix(host, "-"+e.host()) }

// target chooses a revision. An unknown tag is as none, as in Knative.
func (e *entry) target(tag string) (types.NamespacedName, bool) {
	if tag != "" {
		if revision, ok := e.tags[tag]; ok {
			return revision, true
		}
	}
	if len(e.shares) == 0 {
		return types.NamespacedName{}, false
	}
	if len(e.shares) > 1 {
		at := rand.IntN(e.total)
		for _, s := range e.shares {
			if at < s.upTo {
				return s.revision, true
			}
		}
	}
	return e.shares[0].revision, true
}
