package table

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/claim"
	"redoubt.dev/redoubt/internal/gateway/guard"
)

// claimed is a claim to a host and where it leads: to a route of its own
// namespace, whatever its object says.
type claimed struct {
	claim.Claim
	route types.NamespacedName
	guard *guard.Guard // nil: none
}

// SetMapping adds or replaces a domain mapping, whose requests g judges, if it
// is not nil.
func (t *Table) SetMapping(m *v1beta1.DomainMapping, g *guard.Guard) {
	route := types.NamespacedName{Namespace: m.Namespace, Name: m.Spec.Ref.Name}
	t.setClaim(claimed{Claim: claim.OfMapping(m), route: route, guard: g})
}

// DeleteMapping removes a mapping; the next one with its name takes its place.
func (t *Table) DeleteMapping(name types.NamespacedName) { t.deleteClaim(claim.Mapping, name) }

// SetTrigger adds or replaces an HTTP trigger, whose requests g judges.
func (t *Table) SetTrigger(trigger *kubeless.HTTPTrigger, g *guard.Guard) {
	route := types.NamespacedName{Namespace: trigger.Namespace, Name: trigger.Spec.FunctionName} // its service's, with its name
	t.setClaim(claimed{Claim: claim.OfTrigger(trigger, t.domain[1:]), route: route, guard: g})
}

// DeleteTrigger removes a trigger; who comes next gets what it had.
func (t *Table) DeleteTrigger(name types.NamespacedName) { t.deleteClaim(claim.Trigger, name) }

// claimant is the object that a claim is of.
type claimant struct {
	kind string
	name types.NamespacedName
}

func (t *Table) setClaim(c claimed) {
	of := claimant{c.Kind, types.NamespacedName{Namespace: c.Namespace, Name: c.Name}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unclaim(of)
	if c.Reserved(t.domain[1:]) {
		return
	}
	all := append(slices.Clone(t.claims[c.Host]), c)
	slices.SortFunc(all, func(a, b claimed) int { return claim.Compare(a.Claim, b.Claim) })
	t.claims[c.Host], t.claimants[of] = all, c.Host
}

func (t *Table) deleteClaim(kind string, name types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unclaim(claimant{kind, name})
}

// unclaim takes back what an object claims; t.mu is held.
func (t *Table) unclaim(of claimant) {
	host, ok := t.claimants[of]
	if !ok {
		return
	}
	delete(t.claimants, of)
	rest := slices.DeleteFunc(slices.Clone(t.claims[host]), func(c claimed) bool {
		return c.Kind == of.kind && c.Namespace == of.name.Namespace && c.Name == of.name.Name
	})
	if t.claims[host] = rest; len(rest) == 0 {
		delete(t.claims, host)
	}
}

// claimOf is the claim that a request falls under, nil where there is none: of
// those of the namespace that has the host, the one with the longest path, and
// of these the oldest. t.mu is held.
func (t *Table) claimOf(host string, path []byte) *claimed {
	all := t.claims[host]
	var best *claimed
	for i := range all {
		c := &all[i]
		if c.Namespace == all[0].Namespace && c.Covers(string(path)) && (best == nil || len(c.Path) > len(best.Path)) {
			best = c
		}
	}
	return best
}

// cut is how much of a request's path is the claim's.
func (c *claimed) cut() int {
	if c == nil || c.Path == "/" {
		return 0
	}
	return len(c.Path)
}
