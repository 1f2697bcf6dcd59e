package policy

import (
	"maps"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// cost is what policies take of a node: their rules are made anew whenever a pod
// comes or goes.
type cost struct {
	lines int // of rules, and elements of the sets that they name
	looks int // at labels and values, to find out which pods are chosen
}

// What one policy may cost, and all of a tenant's together: nobody takes the
// memory and the time of a node's walls from others.
var (
	most     = cost{lines: 10_000, looks: 1_000_000}
	together = cost{lines: 20_000, looks: 2_000_000}
)

func (c cost) plus(more cost) cost { return cost{c.lines + more.lines, c.looks + more.looks} }

func (c cost) exceeds(limit cost) bool { return c.lines > limit.lines || c.looks > limit.looks }

// account is what a policy costs that is being translated.
type account struct {
	cost
	owner *owner
	names map[string]bool // the sets that it is the owner's first to name
	// sets and chains are those that it is the first of all to name.
	sets, chains []string
}

// owner pays for policies: a tenant, or a namespace that has none.
type owner struct {
	paid  cost
	names map[string]bool // the sets that have been paid for
}

// begin opens the account of a policy.
func (c *compiler) begin(policy *networkingv1.NetworkPolicy) {
	name := "namespace " + policy.Namespace
	if tenant := c.Namespaces[policy.Namespace][redoubt.TenantLabel]; tenant != "" {
		name = "tenant " + tenant
	}
	if c.owners[name] == nil {
		c.owners[name] = &owner{names: map[string]bool{}}
	}
	c.now = account{owner: c.owners[name], names: map[string]bool{}}
}

// tooMuch says that the policy being translated costs more than it may.
func (c *compiler) tooMuch() bool {
	return c.now.exceeds(most) || c.now.owner.paid.plus(c.now.cost).exceeds(together)
}

// end closes the account of a policy. One that costs too much leaves nothing
// behind, and counts as one that costs the most that it may: finding out took
// time, too.
func (c *compiler) end() (refused bool) {
	if !c.tooMuch() {
		c.now.owner.paid = c.now.owner.paid.plus(c.now.cost)
		maps.Copy(c.now.owner.names, c.now.names)
		return false
	}
	c.now.owner.paid = c.now.owner.paid.plus(most)
	for _, name := range c.now.sets {
		delete(c.rules.Sets, name)
	}
	for _, name := range c.now.chains {
		delete(c.rules.Chains, name)
	}
	return true
}

// set pays for a set, and fills it unless another has.
func (c *compiler) set(name, kind string, fill func(add func(key string))) {
	if c.now.names[name] || c.now.owner.names[name] {
		return
	}
	c.now.names[name] = true
	if _, ok := c.rules.Sets[name]; ok {
		c.now.cost = c.now.plus(c.sets[name])
		return
	}
	before := c.now.cost
	c.rules.Declare(name, kind)
	c.now.sets = append(c.now.sets, name)
	fill(func(key string) {
		c.rules.Add(name, kind, key, "")
		c.now.lines++
	})
	c.sets[name] = cost{c.now.lines - before.lines, c.now.looks - before.looks}
}

// reading is what a selector costs before it chooses anything: a word takes as
// long as several looks.
func reading(s *metav1.LabelSelector) cost { return cost{looks: 10 * words(s)} }

// words are how many a selector has.
func words(s *metav1.LabelSelector) int {
	if s == nil {
		return 0
	}
	n := len(s.MatchLabels)
	for _, e := range s.MatchExpressions {
		n += 1 + len(e.Values)
	}
	return n
}
