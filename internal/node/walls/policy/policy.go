// Package policy turns what a cluster says of its pods, namespaces and network
// policies into the ruleset of one node. It is a pure function: what it returns
// follows from what it is given and from nothing else.
//
// A packet that is forwarded passes three chains, one after the other: the wall
// of the sender's tenant, the sender's egress policies, the receiver's ingress
// policies. One for the node itself passes the first two. What the node sends
// passes none: the kubelet's probes and the gateway reach every pod. A packet
// that answers another passes; every other one is judged, whether its
// connection is new or not, so that a policy holds for what is open already.
package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// Pod is a pod with an address.
type Pod struct {
	Namespace string
	Labels    labels.Set
	Address   netip.Addr
	Ports     []corev1.ContainerPort // those that have a name
	// Local says that the pod runs on this node.
	Local bool
}

// Service is a service that pods of tenants reach.
type Service struct {
	Namespace string
	Labels    labels.Set
	Address   netip.Addr
	Ports     []corev1.ServicePort
	// NoPods says that no pods are behind it. Policies may then mean the service
	// itself where they select the pods that other clusters have there.
	NoPods bool
}

// Cluster is what rules follow from.
type Cluster struct {
	Pods []Pod
	// Namespaces are labels by name. Pods of a namespace that is not among them
	// have no network.
	Namespaces map[string]labels.Set
	Policies   []*networkingv1.NetworkPolicy
	// Strict says that policies allow nothing: what they select is denied.
	Strict bool
	// Open are the services that every tenant reaches.
	Open []Service
	// Gateway is where every tenant may send requests; not valid where nobody may.
	Gateway netip.AddrPort
	// PodRange is where the node's pods have their addresses from. An address in
	// it that is nobody's has no network.
	PodRange netip.Prefix
	// Closed are addresses that no tenant's pods reach, but for their own
	// tenant's pods: what is not "the outside".
	Closed []netip.Prefix
}

// Names of what every ruleset has.
const (
	pods    = "pods"
	itself  = "itself"
	tenants = "tenants"
	egress  = "egress"
	ingress = "ingress"
	refuse  = "refuse"
	outside = "outside"
)

// compiler holds what has been made so far.
type compiler struct {
	*Cluster
	rules       *ruleset.Ruleset
	byNamespace map[string][]*Pod
	owners      map[string]*owner
	sets        map[string]cost // what each set costs who names it
	now         account
}

// Compile returns the ruleset that keeps the walls and policies of a cluster.
func Compile(cluster *Cluster) *ruleset.Ruleset {
	c := &compiler{Cluster: cluster, rules: ruleset.New(), byNamespace: map[string][]*Pod{}, owners: map[string]*owner{}, sets: map[string]cost{}}
	for i := range cluster.Pods {
		pod := &cluster.Pods[i]
		if _, ok := cluster.Namespaces[pod.Namespace]; ok {
			c.byNamespace[pod.Namespace] = append(c.byNamespace[pod.Namespace], pod)
		}
	}
	c.frame()
	c.known()
	c.walls()
	c.policies()
	return c.rules
}

// frame makes the chains that the kernel enters. Their priorities put them
// behind the translation of service addresses and before other filters.
func (c *compiler) frame() {
	for set, kind := range map[string]string{
		pods: ruleset.Addresses, itself: ruleset.Pairs, tenants: ruleset.Verdicts, egress: ruleset.Verdicts, ingress: ruleset.Verdicts,
	} {
		c.rules.Declare(set, kind)
	}
	pass := []string{
		"ct state related accept",
		"ct state established ct direction reply accept",
		"ip saddr . ip daddr @itself accept",
	}
	chain := func(name, hook string, rules ...string) {
		c.rules.Chains[name] = ruleset.Chain{Hook: hook, Rules: rules}
	}
	chain("wall-forward", "forward priority -30", "meta nfproto ipv6 drop", "goto wall")
	chain("wall-input", "input priority -30", `iifname "lo" accept`, "goto wall")
	chain("wall", "", append(slices.Clone(pass),
		fmt.Sprintf("ip saddr %s ip saddr != @pods drop", c.PodRange),
		"ip saddr vmap @tenants")...)
	chain("egress-forward", "forward priority -20", "goto egress")
	chain("egress-input", "input priority -20", `iifname "lo" accept`, "goto egress")
	chain("egress", "", append(slices.Clone(pass), "ip saddr vmap @egress")...)
	chain("ingress", "forward priority -10", append(slices.Clone(pass),
		fmt.Sprintf("ip daddr %s ip daddr != @pods goto refuse", c.PodRange),
		"ip daddr vmap @ingress")...)
	// Whoever is refused learns it at once.
	chain(refuse, "", "meta l4proto tcp reject with tcp reset", "reject with icmpx type admin-prohibited")
}

// known names every pod, and lets each reach itself by a service.
func (c *compiler) known() {
	for _, list := range c.byNamespace {
		for _, pod := range list {
			address := pod.Address.String()
			c.rules.Add(pods, ruleset.Addresses, address, "")
			c.rules.Add(itself, ruleset.Pairs, address+" . "+address, "")
		}
	}
}

// walls give each tenant's pods what they reach: their own tenant, the open
// services, and what is outside the cluster.
func (c *compiler) walls() {
	for namespace, list := range c.byNamespace {
		tenant := c.Namespaces[namespace][redoubt.TenantLabel]
		if tenant == "" {
			continue
		}
		name := ruleset.Name("tenant", tenant, tenant)
		c.rules.Chains[name] = ruleset.Chain{Rules: []string{"ip daddr @" + name + " accept", "goto " + outside}}
		for _, pod := range list {
			c.rules.Add(name, ruleset.Addresses, pod.Address.String(), "")
			if pod.Local {
				c.rules.Add(tenants, ruleset.Verdicts, pod.Address.String(), "goto "+name)
			}
		}
	}
	c.rules.Chains[outside] = ruleset.Chain{Rules: c.outside()}
}

func (c *compiler) outside() []string {
	var rules []string
	for _, service := range c.Open {
		for _, port := range service.Ports {
			rules = append(rules, fmt.Sprintf("%s meta l4proto %s ct original proto-dst %d accept", toService(&service), protocol(&port.Protocol), port.Port))
		}
	}
	if c.Gateway.IsValid() {
		rules = append(rules, fmt.Sprintf("ip daddr %s tcp dport %d accept", c.Gateway.Addr(), c.Gateway.Port()))
	}
	// The node's own addresses, and those that it hears with others.
	rules = append(rules, "fib daddr type != unicast goto "+refuse)
	for _, prefix := range c.Closed {
		rules = append(rules, fmt.Sprintf("ip daddr %s goto %s", prefix.Masked(), refuse))
	}
	return rules
}

// toService matches what was sent to a service's address, whatever stands
// behind it.
func toService(s *Service) string { return "ct original ip daddr " + s.Address.String() }

// policies give each local pod that is selected the chains of its policies.
func (c *compiler) policies() {
	selected := map[string]map[*Pod][]string{ingress: {}, egress: {}}
	ordered := slices.Clone(c.Policies)
	slices.SortFunc(ordered, func(a, b *networkingv1.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	for _, policy := range ordered {
		c.begin(policy)
		subjects := c.subjects(policy)
		if len(subjects) == 0 {
			c.end()
			continue
		}
		translated := c.translate(policy)
		// Each of them may be the only one that these policies select together.
		c.now.lines += len(translated) * len(subjects)
		refused := c.end()
		if refused {
			c.rules.Notes = append(c.rules.Notes, fmt.Sprintf("%s/%s: it comes to more than %d rules and addresses, or with its tenant's others to more than %d, or chooses pods in too many words",
				policy.Namespace, policy.Name, most.lines, together.lines))
		}
		for direction, rules := range translated {
			name := ruleset.Name(direction, policy.Namespace+"/"+policy.Name, policy.Namespace+"/"+policy.Name)
			if !refused {
				c.rules.Chains[name] = ruleset.Chain{Rules: rules}
			}
			for _, pod := range subjects {
				// Who is selected has an entry, also where nothing is allowed.
				chains := selected[direction][pod]
				if !refused {
					chains = append(chains, name)
				}
				selected[direction][pod] = chains
			}
		}
	}
	for direction, pods := range selected {
		for pod, chains := range pods {
			c.rules.Add(direction, ruleset.Verdicts, pod.Address.String(), "goto "+c.any(direction, chains))
		}
	}
}

// subjects are the local pods that a policy selects: all of the namespace,
// where nobody can tell, or says it in more than a few words and costs too much.
func (c *compiler) subjects(policy *networkingv1.NetworkPolicy) []*Pod {
	const few = 20
	here := c.byNamespace[policy.Namespace]
	c.now.cost = c.now.plus(reading(&policy.Spec.PodSelector))
	c.now.looks += len(here) * (1 + words(&policy.Spec.PodSelector))
	selector := labels.Everything()
	if words(&policy.Spec.PodSelector) <= few || !c.tooMuch() {
		selector = selectorOr(&policy.Spec.PodSelector, labels.Everything())
	}
	var all []*Pod
	for _, pod := range here {
		if pod.Local && selector.Matches(pod.Labels) {
			all = append(all, pod)
		}
	}
	return all
}

// any is the chain of pods that the same policies select: what one of them
// accepts is accepted.
func (c *compiler) any(direction string, chains []string) string {
	name := ruleset.Name(direction, strings.Join(chains, "\n"), "")
	if _, ok := c.rules.Chains[name]; !ok {
		var rules []string
		for _, chain := range chains {
			rules = append(rules, "jump "+chain)
		}
		c.rules.Chains[name] = ruleset.Chain{Rules: append(rules, "goto "+refuse)}
	}
	return name
}
