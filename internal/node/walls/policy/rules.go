package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// translate returns the rules of a policy for each direction that it speaks of.
func (c *compiler) translate(policy *networkingv1.NetworkPolicy) map[string][]string {
	spec, rules := &policy.Spec, map[string][]string{}
	allowed := spec
	if c.Strict {
		allowed = &networkingv1.NetworkPolicySpec{}
	}
	for _, kind := range typesOf(spec) {
		var all []string
		switch kind {
		case networkingv1.PolicyTypeIngress:
			for _, r := range allowed.Ingress {
				all = append(all, c.allow(policy.Namespace, "saddr", r.From, r.Ports)...)
			}
			rules[ingress] = all
		case networkingv1.PolicyTypeEgress:
			for _, r := range allowed.Egress {
				all = append(all, c.allow(policy.Namespace, "daddr", r.To, r.Ports)...)
			}
			rules[egress] = all
		}
	}
	return rules
}

// typesOf are the directions that a policy speaks of. One that does not say
// speaks of ingress, and of egress where it has such rules.
func typesOf(spec *networkingv1.NetworkPolicySpec) []networkingv1.PolicyType {
	if len(spec.PolicyTypes) > 0 {
		return spec.PolicyTypes
	}
	types := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	if len(spec.Egress) > 0 {
		types = append(types, networkingv1.PolicyTypeEgress)
	}
	return types
}

// allow returns the rules for what is one of the peers' and goes to one of the
// ports. No peers are all, and no ports are all; what cannot be understood
// allows nothing.
func (c *compiler) allow(namespace, field string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) []string {
	hosts, services := []string{""}, []string{""}
	if len(peers) > 0 {
		hosts = nil
		for _, peer := range peers {
			hosts = append(hosts, c.peer(namespace, field, &peer)...)
		}
	}
	if len(ports) > 0 {
		services = nil
		for _, port := range ports {
			services = append(services, c.port(&port)...)
		}
	}
	c.now.lines += len(hosts) + len(services)
	if len(hosts) > 1 && len(services) > 1 {
		return []string{"jump " + c.part("hosts", pairs(hosts, []string{"goto " + c.part("services", pairs(services, []string{"accept"}))}))}
	}
	return pairs(hosts, pairs(services, []string{"accept"}))
}

// pairs are all that have one of each, of what says something.
func pairs(first, second []string) []string {
	var all []string
	for _, a := range first {
		for _, b := range second {
			all = append(all, strings.TrimPrefix(a+" "+b, " "))
		}
	}
	return all
}

// part is the chain of rules that are a part of others. Those that say the same
// are one.
func (c *compiler) part(kind string, rules []string) string {
	name := ruleset.Name(kind, strings.Join(rules, "\n"), "")
	if _, ok := c.rules.Chains[name]; !ok {
		c.rules.Chains[name] = ruleset.Chain{Rules: rules}
		c.now.chains = append(c.now.chains, name)
	}
	return name
}

// peer matches one peer's addresses in a field of the packet.
func (c *compiler) peer(namespace, field string, peer *networkingv1.NetworkPolicyPeer) []string {
	if peer.IPBlock != nil {
		c.now.lines += len(peer.IPBlock.Except)
	}
	c.now.cost = c.now.plus(reading(peer.PodSelector)).plus(reading(peer.NamespaceSelector))
	if c.tooMuch() {
		return nil
	}
	if peer.IPBlock != nil {
		return block(field, peer.IPBlock)
	}
	if peer.PodSelector == nil && peer.NamespaceSelector == nil {
		return nil
	}
	within := labels.Nothing()
	if peer.NamespaceSelector != nil {
		within = selectorOr(peer.NamespaceSelector, labels.Nothing())
	}
	chosen := labels.Everything()
	if peer.PodSelector != nil {
		chosen = selectorOr(peer.PodSelector, labels.Nothing())
	}
	own := peer.NamespaceSelector == nil
	matches := []string{fmt.Sprintf("ip %s @%s", field, c.peers(namespace, own, chooser{within, 1 + words(peer.NamespaceSelector)}, chooser{chosen, 1 + words(peer.PodSelector)}))}
	if field == "daddr" {
		for _, s := range c.Open {
			here := own && s.Namespace == namespace || !own && within.Matches(c.Namespaces[s.Namespace])
			if s.NoPods && here && chosen.Matches(s.Labels) {
				matches = append(matches, toService(&s))
			}
		}
	}
	return matches
}

// chooser is a selector, and how much there is to look at in it.
type chooser struct {
	labels.Selector
	words int
}

// peers is the name of the set of pods that a selector chooses in the policy's
// own namespace, or in those that another selector chooses.
func (c *compiler) peers(namespace string, own bool, within, chosen chooser) string {
	key := "all " + within.String() + "\n" + chosen.String()
	if own {
		key = "own " + namespace + "\n" + chosen.String()
	}
	name := ruleset.Name("peers", key, "")
	c.set(name, ruleset.Addresses, func(add func(string)) {
		choose := func(list []*Pod) {
			for _, pod := range list {
				c.now.looks += chosen.words
				if c.tooMuch() {
					return
				}
				if chosen.Matches(pod.Labels) {
					add(pod.Address.String())
				}
			}
		}
		if own {
			choose(c.byNamespace[namespace])
			return
		}
		for ns, list := range c.byNamespace {
			c.now.looks += within.words
			if c.tooMuch() {
				return
			}
			if within.Matches(c.Namespaces[ns]) {
				choose(list)
			}
		}
	})
	return name
}

// block matches a range of addresses without its exceptions. Those of IPv6 are
// no pod's here.
func block(field string, b *networkingv1.IPBlock) []string {
	prefix, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !prefix.Addr().Is4() {
		return nil
	}
	if len(b.Except) == 0 {
		return []string{fmt.Sprintf("ip %s %s", field, prefix.Masked())}
	}
	var without []span
	for _, text := range b.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil || !except.Addr().Is4() {
			return nil
		}
		without = append(without, spanOf(except))
	}
	var left []string
	for _, s := range spanOf(prefix).less(without) {
		left = append(left, s.String())
	}
	if len(left) == 0 {
		return nil
	}
	// One set, however many they are: the kernel bounds how long a rule is, and
	// takes no part of a table that has a longer one.
	return []string{fmt.Sprintf("ip %s { %s }", field, strings.Join(left, ", "))}
}

// port matches where a packet goes.
func (c *compiler) port(p *networkingv1.NetworkPolicyPort) []string {
	proto := protocol(p.Protocol)
	switch {
	case proto == "" || c.tooMuch():
		return nil
	case p.Port == nil:
		return []string{"meta l4proto " + proto}
	case p.Port.Type == intstr.String:
		return []string{"ip daddr . meta l4proto . th dport @" + c.named(p.Port.StrVal, proto)}
	case p.EndPort != nil:
		if *p.EndPort < p.Port.IntVal {
			return nil
		}
		return []string{fmt.Sprintf("%s dport %d-%d", proto, p.Port.IntVal, *p.EndPort)}
	}
	return []string{fmt.Sprintf("%s dport %d", proto, p.Port.IntVal)}
}

// named is the set of the pods' ports of a name. One set does for every policy:
// a rule's other half says whose ports are meant.
func (c *compiler) named(port, proto string) string {
	name := ruleset.Name("port", port+"/"+proto, port)
	c.set(name, ruleset.Endpoints, func(add func(string)) {
		for _, list := range c.byNamespace {
			for _, pod := range list {
				c.now.looks += 1 + len(pod.Ports)
				if c.tooMuch() {
					return
				}
				for _, p := range pod.Ports {
					if p.Name == port && protocol(&p.Protocol) == proto {
						add(pod.Address.String() + " . " + proto + " . " + strconv.Itoa(int(p.ContainerPort)))
					}
				}
			}
		}
	})
	return name
}

// protocol is a protocol in nft's words, TCP where it is not named.
func protocol(p *corev1.Protocol) string {
	switch {
	case p == nil || *p == "" || *p == corev1.ProtocolTCP:
		return "tcp"
	case *p == corev1.ProtocolUDP:
		return "udp"
	case *p == corev1.ProtocolSCTP:
		return "sctp"
	}
	return ""
}

// selectorOr is what a selector of the API means, or otherwise what is on the
// safe side where it means nothing.
func selectorOr(s *metav1.LabelSelector, otherwise labels.Selector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return otherwise
	}
	return selector
}
