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

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/gateway/balance"
)

// Query is what of a request decides where it goes.
type Query struct {
	// Host is the name in the request, in lower case, without a port.
	Host string
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
	admits                func(client netip.Addr, namespace string) bool

	mu        sync.RWMutex
	hosts     map[string]*entry                   // guarded by mu, as are all below; by NAME.NAMESPACE
	tagged    map[string]*entry                   // by TAG-NAME.NAMESPACE
	mapped    map[string][]*v1beta1.DomainMapping // by domain, the one that has it first
	routes    map[types.NamespacedName]*entry
	revisions map[types.NamespacedName]*balance.Revision
}

// New returns an empty table. Public names end in domain, names inside the
// cluster in svc.clusterDomain, svc or nothing. Waits is given to each
// revision (see balance.New); for clients that admits does not admit to a
// namespace, the services there do not exist.
func New(domain, clusterDomain string, waits func(*balance.Revision), admits func(client netip.Addr, namespace string) bool) *Table {
	return &Table{
		domain:        "." + domain,
		clusterDomain: ".svc." + clusterDomain,
		waits:         waits,
		admits:        admits,
		hosts:         map[string]*entry{},
		tagged:        map[string]*entry{},
		mapped:        map[string][]*v1beta1.DomainMapping{},
		routes:        map[types.NamespacedName]*entry{},
		revisions:     map[types.NamespacedName]*balance.Revision{},
	}
}

// Find returns the revision for one request. The error is a *balance.Refusal.
func (t *Table) Find(q Query) (*balance.Revision, error) {
	name, public := t.strip(q.Host)
	e, tag := t.entry(name, &q)
	if e == nil || e.local && (public || q.Public) || !t.admits(q.Client, e.name.Namespace) {
		return nil, &balance.Refusal{Status: http.StatusNotFound, Message: fmt.Sprintf(
			"no service answers to the host %q: the names are NAME.NAMESPACE%s", shortened(q.Host), t.domain)}
	}
	target, ok := e.target(tag)
	if !ok {
		return nil, &balance.Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("route %s is not ready: %s", e.name, e.problem)}
	}
	t.mu.RLock()
	r := t.revisions[target]
	t.mu.RUnlock()
	if r == nil {
		return nil, &balance.Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("revision %s of route %s does not exist", target, e.name)}
	}
	return r, nil
}

// entry returns the route that a name without its domain belongs to, and the
// tag that is asked for. An entry does not change once it is made.
func (t *Table) entry(name string, q *Query) (e *entry, tag string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e = t.hosts[name]; e != nil {
		return e, q.Tag
	}
	if e = t.tagged[name]; e != nil {
		return e, e.tagOf(name)
	}
	if name == q.Host { // not one of the platform's own names
		return t.mappedTo(name), q.Tag
	}
	return nil, ""
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
