// Package claim says whose a host name is. DomainMappings and HTTPTriggers of
// all namespaces can name the same one: the first to do so has it for its
// namespace. The gateway and the controllers go by this one rule.
package claim

import (
	"cmp"
	"slices"
	"strings"
	"time"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
)

// The kinds of objects that claim a host.
const (
	Mapping = "DomainMapping"
	Trigger = "HTTPTrigger"
)

// Claim is one object's wish to have a host, or what is below a path of it.
type Claim struct {
	// Host is in lower case.
	Host string
	// Path is "/", or one or more parts with a slash before each.
	Path                  string
	Kind, Namespace, Name string
	made                  time.Time
	held                  bool // it was found to be the first before
}

// OfMapping is a DomainMapping's: all of the host.
func OfMapping(m *v1beta1.DomainMapping) Claim {
	return Claim{
		Host: m.Name, Path: "/", Kind: Mapping, Namespace: m.Namespace, Name: m.Name,
		made: m.CreationTimestamp.Time, held: m.Status.Conditions.IsTrue(v1beta1.DomainClaimed),
	}
}

// OfTrigger is an HTTPTrigger's, where domain ends the platform's public names.
func OfTrigger(t *kubeless.HTTPTrigger, domain string) Claim {
	return Claim{
		Host: t.Host(domain), Path: t.Prefix(), Kind: Trigger, Namespace: t.Namespace, Name: t.Name,
		made: t.CreationTimestamp.Time, held: t.Status.Conditions.IsTrue(kubeless.HostClaimed),
	}
}

// Reserved says that the host is one of the platform's public names, which end
// in domain, and not for this claim: a trigger may have those of its own
// namespace, and a mapping none.
func (c Claim) Reserved(domain string) bool {
	if c.Host != domain && !strings.HasSuffix(c.Host, "."+domain) {
		return false
	}
	return c.Kind != Trigger || !strings.HasSuffix(c.Host, "."+c.Namespace+"."+domain)
}

// Covers says whether path is below the claim's. The empty path, which no
// request has, stands for any.
func (c Claim) Covers(path string) bool {
	if path == "" || c.Path == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(path, c.Path)
	return ok && (rest == "" || rest[0] == '/')
}

// Same says that both are of one object.
func (c Claim) Same(other Claim) bool {
	return c.Kind == other.Kind && c.Namespace == other.Namespace && c.Name == other.Name
}

// Compare orders claims of one host, the best first: the one made earliest.
// Only the API server writes that time, so nobody can take a host away. It
// counts in seconds: of those made in the same one, who was found to have the
// host keeps it.
func Compare(a, b Claim) int {
	return cmp.Or(
		a.made.Compare(b.made),
		-compareBool(a.held, b.held),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Name, b.Name),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Lost says what keeps c from having what it claims beside the others of its
// host, all in order: nothing, or another namespace that was first with the
// host, or an object of its own namespace that was with the path.
func (c Claim) Lost(all []Claim) (host, path bool) {
	if len(all) > 0 && all[0].Namespace != c.Namespace {
		return true, false
	}
	first := slices.IndexFunc(all, func(other Claim) bool { return other.Namespace == c.Namespace && other.Path == c.Path })
	return false, first >= 0 && !all[first].Same(c)
}
