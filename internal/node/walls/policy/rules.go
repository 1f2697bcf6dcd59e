package policy

import (
	"fmt"
	"net/netip"
	"slices"
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
	for _, kind := range typesOf(spec) {
		var all []string
		switch kind {
		case networkingv1.PolicyTypeIngress:
			for _, r := range spec.Ingress {
				all = append(all, c.allow(policy.Namespace, "saddr", r.From, r.Ports)...)
			}
			rules[ingress] = all
		case networkingv1.PolicyTypeEgress:
			for _, r := range spec.Egress {
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

// allow returns a rule for each pair of a peer and a port. No peers are all,
// and no ports are all; what cannot be understood allows nothing.
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
	var rules []string
	for _, host := range hosts {
		for _, service := range services {
			rules = append(rules, strings.Join(slices.DeleteFunc([]string{host, service, "accept"}, func(s string) bool { return s == "" }), " "))
		}
	}
	return rules
}

// peer matches one peer's addresses in a field of the packet.
func (c *compiler) peer(namespace, field string, peer *networkingv1.NetworkPolicyPeer) []string {
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
	matches := []string{fmt.Sprintf("ip %s @%s", field, c.peers(namespace, own, within, chosen))}
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

// peers is the name of the set of pods that a selector chooses in the policy's
// own namespace, or in those that another selector chooses.
func (c *compiler) peers(namespace string, own bool, within, chosen labels.Selector) string {
	key := "all " + within.String() + "\n" + chosen.String()
	if own {
		key = "own " + namespace + "\n" + chosen.String()
	}
	name := ruleset.Name("peers", key, "")
	if _, ok := c.rules.Sets[name]; ok {
		return name
	}
	c.rules.Declare(name, ruleset.Addresses)
	add := func(list []*Pod) {
		for _, pod := range list {
			if chosen.Matches(pod.Labels) {
				c.rules.Add(name, ruleset.Addresses, pod.Address.String(), "")
			}
		}
	}
	if own {
		add(c.byNamespace[namespace])
		return name
	}
	for ns, list := range c.byNamespace {
		if within.Matches(c.Namespaces[ns]) {
			add(list)
		}
	}
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
	case proto == "":
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
	if _, ok := c.rules.Sets[name]; ok {
		return name
	}
	c.rules.Declare(name, ruleset.Endpoints)
	for _, list := range c.byNamespace {
		for _, pod := range list {
			for _, p := range pod.Ports {
				if p.Name == port && protocol(&p.Protocol) == proto {
					c.rules.Add(name, ruleset.Endpoints, pod.Address.String()+" . "+proto+" . "+strconv.Itoa(int(p.ContainerPort)), "")
				}
			}
		}
	}
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
