package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// world has two namespaces without a tenant, "a" and "b", and two tenants, one
// of which has two namespaces. The pod a/web is what policies are tried on.
func world(policies ...*networkingv1.NetworkPolicy) *Cluster {
	pod := func(namespace, app string, last byte, ports ...corev1.ContainerPort) Pod {
		return Pod{Namespace: namespace, Labels: labels.Set{"app": app}, Address: netip.AddrFrom4([4]byte{198, 18, 0, last}), Ports: ports, Local: true}
	}
	http := corev1.ContainerPort{Name: "http", ContainerPort: 8080}
	away := pod("b", "away", 9, corev1.ContainerPort{Name: "http", ContainerPort: 80})
	away.Local = false
	return &Cluster{
		Pods: []Pod{
			pod("a", "web", 2, http), pod("a", "cli", 3), pod("b", "web", 4, corev1.ContainerPort{Name: "http", ContainerPort: 9090}),
			pod("acme", "web", 5, http), pod("acme-test", "cli", 6), pod("rival", "web", 7), pod("nowhere", "web", 8), away,
		},
		Namespaces: map[string]labels.Set{
			"a": {"kubernetes.io/metadata.name": "a"}, "b": {"kubernetes.io/metadata.name": "b", "team": "b"},
			"acme": {"redoubt.dev/tenant": "acme"}, "acme-test": {"redoubt.dev/tenant": "acme"}, "rival": {"redoubt.dev/tenant": "rival"},
			"kube-system": {"kubernetes.io/metadata.name": "kube-system"},
		},
		Policies: policies,
		Open: []Service{{
			Namespace: "kube-system", Labels: labels.Set{"k8s-app": "kube-dns"}, Address: netip.MustParseAddr("198.19.0.10"), NoPods: true,
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolUDP, Port: 53}},
		}},
		Gateway:  netip.MustParseAddrPort("198.51.100.6:80"),
		PodRange: netip.MustParsePrefix("198.18.0.0/16"),
		Closed:   []netip.Prefix{netip.MustParsePrefix("198.18.0.0/16"), netip.MustParsePrefix("169.254.0.0/16")},
	}
}

// read makes a policy of the namespace a from the YAML of its specification.
func read(t testing.TB, name, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

var setName = regexp.MustCompile(`@(peers|port|tenant)-[A-Z0-9]+(-[a-z0-9-]+)?`)

// shown are the rules that a pod's packets meet in a direction, with sets
// shown by what is in them.
func shown(r *ruleset.Ruleset, direction, address string) []string {
	verdict, ok := r.Sets[direction].Elements[address]
	if !ok {
		return []string{"open"}
	}
	rules := r.Chains[strings.TrimPrefix(verdict, "goto ")].Rules
	for jump := true; jump; {
		var inner []string
		jump = false
		for _, rule := range rules {
			if chain, ok := strings.CutPrefix(rule, "jump "); ok {
				inner, jump = append(inner, r.Chains[chain].Rules...), true
			} else {
				inner = append(inner, rule)
			}
		}
		rules = inner
	}
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i] = setName.ReplaceAllStringFunc(rules[i], func(name string) string {
			elements := slices.Sorted(maps.Keys(r.Sets[name[1:]].Elements))
			return strings.ReplaceAll("{"+strings.Join(elements, ", ")+"}", "198.18.0.", ".")
		})
		if match, chain, ok := strings.Cut(rules[i], "goto services-"); ok {
			rules[i] = match + "(" + strings.Join(r.Chains["services-"+chain].Rules, ", ") + ")"
		}
	}
	return rules
}

// cases are specifications of policies and what comes of each for a/web.
var cases = []struct {
	name, spec, ingress, egress string // rules with newlines, without the last, "goto refuse"
}{
	{"all pods, deny both", `{podSelector: {}, policyTypes: [Ingress, Egress]}`, "", ""},
	{"deny ingress by default", `{podSelector: {}}`, "", "open"},
	{"egress rules without types mean both", `{podSelector: {}, egress: [{}]}`, "", "accept"},
	{"egress alone", `{podSelector: {}, policyTypes: [Egress]}`, "open", ""},
	{"not selected", `{podSelector: {matchLabels: {app: cli}}}`, "open", "open"},
	{"selected by label", `{podSelector: {matchLabels: {app: web}}}`, "", "open"},
	{"selected by expression", `{podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}}`, "", "open"},
	{"a selector that means nothing selects all", `{podSelector: {matchExpressions: [{key: app, operator: Like, values: [web]}]}}`, "", "open"},
	{"allow all ingress", `{podSelector: {}, ingress: [{}]}`, "accept", "open"},
	{"allow all, in words", `{podSelector: {}, ingress: [{from: [], ports: []}]}`, "accept", "open"},
	{"from pods of the namespace", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: cli}}}]}]}`, "ip saddr {.3} accept", "open"},
	{"from all pods of the namespace", `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`, "ip saddr {.2, .3} accept", "open"},
	{"from a namespace", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`, "ip saddr {.4, .9} accept", "open"},
	{"from all namespaces", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`, "ip saddr {.2, .3, .4, .5, .6, .7, .9} accept", "open"},
	{"from pods in a namespace", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: web}}}]}]}`, "ip saddr {.4} accept", "open"},
	{"from pods, or from a namespace", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: cli}}}]}]}`,
		"ip saddr {.4, .9} accept\nip saddr {.3} accept", "open"},
	{"from nobody's label", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}`, "ip saddr {} accept", "open"},
	{"a peer that says nothing", `{podSelector: {}, ingress: [{from: [{}]}]}`, "", "open"},
	{"a peer that means nothing", `{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: Like}]}}]}]}`, "ip saddr {} accept", "open"},
	{"a block", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.7/24}}]}]}`, "ip saddr 203.0.113.0/24 accept", "open"},
	{"a block with exceptions", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.3.4/32]}}]}]}`,
		"ip saddr { 10.0.0.0-10.0.255.255, 10.2.0.0-10.2.3.3, 10.2.3.5-10.255.255.255 } accept", "open"},
	{"exceptions in one another, in no order, and outside", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/29, except: [10.0.0.7/32, 10.0.0.2/32, 10.0.0.0/30, 10.0.0.4/31, 192.0.2.0/24, 9.0.0.0/8]}}]}]}`,
		"ip saddr { 10.0.0.6 } accept", "open"},
	{"exceptions that leave nothing", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [128.0.0.0/1, 0.0.0.0/1]}}]}]}`, "", "open"},
	{"an exception of IPv6", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ["2001:db8::/32"]}}]}]}`, "", "open"},
	{"everything but", `{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}}]}], policyTypes: [Egress]}`,
		"open", "ip daddr { 0.0.0.0-169.253.255.255, 169.255.0.0-255.255.255.255 } accept"},
	{"a block of IPv6", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "2001:db8::/32"}}]}]}`, "", "open"},
	{"a block that is none", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "10.0.0.0/8; accept"}}]}]}`, "", "open"},
	{"a block with an exception that is none", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [ten]}}]}]}`, "", "open"},
	{"a port", `{podSelector: {}, ingress: [{ports: [{port: 80}]}]}`, "tcp dport 80 accept", "open"},
	{"a port of UDP", `{podSelector: {}, ingress: [{ports: [{port: 53, protocol: UDP}]}]}`, "udp dport 53 accept", "open"},
	{"a port of SCTP", `{podSelector: {}, ingress: [{ports: [{port: 7, protocol: SCTP}]}]}`, "sctp dport 7 accept", "open"},
	{"every port of a protocol", `{podSelector: {}, ingress: [{ports: [{protocol: UDP}]}]}`, "meta l4proto udp accept", "open"},
	{"a port that says nothing is all of TCP", `{podSelector: {}, ingress: [{ports: [{}]}]}`, "meta l4proto tcp accept", "open"},
	{"a protocol that is none", `{podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]}`, "", "open"},
	{"ports from to", `{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8100}]}]}`, "tcp dport 8000-8100 accept", "open"},
	{"ports from to, the wrong way round", `{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 80}]}]}`, "", "open"},
	{"a named port", `{podSelector: {}, ingress: [{ports: [{port: http}]}]}`,
		"ip daddr . meta l4proto . th dport {.2 . tcp . 8080, .4 . tcp . 9090, .5 . tcp . 8080, .9 . tcp . 80} accept", "open"},
	{"a named port of another protocol", `{podSelector: {}, ingress: [{ports: [{port: http, protocol: UDP}]}]}`, "ip daddr . meta l4proto . th dport {} accept", "open"},
	{"a named port that nobody has", `{podSelector: {}, ingress: [{ports: [{port: metrics}]}]}`, "ip daddr . meta l4proto . th dport {} accept", "open"},
	{"two peers by two ports", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: cli}}}, {ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80}, {port: 53, protocol: UDP}]}]}`,
		"ip saddr {.3} (tcp dport 80 accept, udp dport 53 accept)\nip saddr 192.0.2.0/24 (tcp dport 80 accept, udp dport 53 accept)", "open"},
	{"a peer by two ports", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80}, {port: 53, protocol: UDP}]}]}`,
		"ip saddr 192.0.2.0/24 tcp dport 80 accept\nip saddr 192.0.2.0/24 udp dport 53 accept", "open"},
	{"two peers by a port", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: cli}}}, {ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80}]}]}`,
		"ip saddr {.3} tcp dport 80 accept\nip saddr 192.0.2.0/24 tcp dport 80 accept", "open"},
	{"two rules", `{podSelector: {}, ingress: [{ports: [{port: 80}]}, {from: [{podSelector: {}}]}]}`, "tcp dport 80 accept\nip saddr {.2, .3} accept", "open"},
	{"egress to a named port elsewhere", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: http}]}]}`,
		"open", "ip daddr {.4, .9} ip daddr . meta l4proto . th dport {.2 . tcp . 8080, .4 . tcp . 9090, .5 . tcp . 8080, .9 . tcp . 80} accept"},
	{"egress to the cluster's DNS", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}]}]}`,
		"open", "ip daddr {} udp dport 53 accept\nct original ip daddr 198.19.0.10 udp dport 53 accept"},
	{"egress to other pods of kube-system", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: other}}}]}]}`,
		"open", "ip daddr {} accept"},
}

// holed is a policy with a block that has so many exceptions, each of one
// address, for every second one.
func holed(t testing.TB, exceptions int) *networkingv1.NetworkPolicy {
	p := read(t, "p", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}`)
	block := p.Spec.Ingress[0].From[0].IPBlock
	for i := range exceptions {
		block.Except = append(block.Except, fmt.Sprintf("10.0.%d.%d/32", i/128, i%128*2))
	}
	return p
}

// wide is a policy with a rule of so many peers by so many ports.
func wide(t testing.TB, n int) *networkingv1.NetworkPolicy {
	var peers, ports []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("{ipBlock: {cidr: 10.%d.%d.0/24}}", i/250, i%250))
		ports = append(ports, fmt.Sprintf("{port: %d}", i+1))
	}
	return read(t, "wide", `{podSelector: {}, ingress: [{from: [`+strings.Join(peers, ", ")+`], ports: [`+strings.Join(ports, ", ")+`]}]}`)
}

func TestPolicies(t *testing.T) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			r := Compile(world(read(t, "p", test.spec)))
			for direction, want := range map[string]string{"ingress": test.ingress, "egress": test.egress} {
				if want != "open" {
					want = strings.TrimPrefix(want+"\ngoto refuse", "\n")
				}
				if got := strings.Join(shown(r, direction, "198.18.0.2"), "\n"); got != want {
					t.Errorf("%s:\n%s\nwant\n%s", direction, got, want)
				}
			}
		})
	}
}

func TestPoliciesAddUp(t *testing.T) {
	r := Compile(world(
		read(t, "deny", `{podSelector: {}}`),
		read(t, "web", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}`),
		read(t, "more", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 443}]}]}`)))
	for address, want := range map[string]string{
		"198.18.0.2": "[tcp dport 443 accept tcp dport 80 accept goto refuse]",
		"198.18.0.3": "[goto refuse]",
		"198.18.0.4": "[open]", // of another namespace
	} {
		if got := fmt.Sprint(shown(r, "ingress", address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// TestOtherNodesPods are peers, and nothing of theirs is judged here.
func TestOtherNodesPods(t *testing.T) {
	p := read(t, "p", `{podSelector: {}, policyTypes: [Ingress, Egress]}`)
	p.Namespace = "b"
	r := Compile(world(p))
	if got := shown(r, "ingress", "198.18.0.9"); got[0] != "open" {
		t.Errorf("a pod of another node has the rules %v", got)
	}
	if _, ok := r.Sets["pods"].Elements["198.18.0.9"]; !ok {
		t.Error("a pod of another node is not known")
	}
}

func TestWalls(t *testing.T) {
	r := Compile(world())
	for address, want := range map[string]string{
		"198.18.0.2": "[open]", // no tenant's
		"198.18.0.5": "[ip daddr {.5, .6} accept goto outside]",
		"198.18.0.6": "[ip daddr {.5, .6} accept goto outside]",
		"198.18.0.7": "[ip daddr {.7} accept goto outside]",
	} {
		if got := fmt.Sprint(shown(r, "tenants", address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	want := []string{
		"ct original ip daddr 198.19.0.10 meta l4proto udp ct original proto-dst 53 accept", "ip daddr 198.51.100.6 tcp dport 80 accept", "fib daddr type != unicast goto refuse",
		"ip daddr 198.18.0.0/16 goto refuse", "ip daddr 169.254.0.0/16 goto refuse",
	}
	if got := r.Chains["outside"].Rules; !slices.Equal(got, want) {
		t.Errorf("outside:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestUnknownNamespace is that of a pod whose tenant nobody can tell.
func TestUnknownNamespace(t *testing.T) {
	if _, ok := Compile(world()).Sets["pods"].Elements["198.18.0.8"]; ok {
		t.Error("a pod of a namespace that is not known has a network")
	}
}

// TestPoliciesAreBounded: what costs a node too much allows nothing, and takes
// nothing of others; a tenant's others go on while there is room for them.
func TestPoliciesAreBounded(t *testing.T) {
	var selectors []string
	for i := range 9000 {
		selectors = append(selectors, fmt.Sprintf("{namespaceSelector: {matchExpressions: [{key: k%d, operator: DoesNotExist}]}}", i))
	}
	many := read(t, "many", `{podSelector: {}, ingress: [{from: [`+strings.Join(selectors, ", ")+`]}]}`)
	last := read(t, "z", `{podSelector: {}, ingress: [{ports: [{port: 7}]}]}`)
	count := func(r *ruleset.Ruleset) (lines int) {
		for _, chain := range r.Chains {
			lines += len(chain.Rules)
		}
		for _, set := range r.Sets {
			lines += len(set.Elements)
		}
		return lines
	}
	bare := count(Compile(world()))

	r := Compile(world(wide(t, 1500)))
	if extra := count(r) - bare; len(r.Notes) > 0 || extra > 3100 {
		t.Errorf("1500 peers by 1500 ports are %d lines, and refused are %q", extra, r.Notes)
	}

	r = Compile(world(many, last))
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "a/many") {
		t.Errorf("9000 sets of pods: refused are %q", r.Notes)
	}
	if extra := count(r) - bare; extra > 20 {
		t.Errorf("what is refused leaves %d lines behind", extra)
	}
	if got := fmt.Sprint(shown(r, "ingress", "198.18.0.2")); got != "[tcp dport 7 accept goto refuse]" {
		t.Errorf("beside one that is refused the rules are %s", got)
	}
	if got := fmt.Sprint(shown(Compile(world(many)), "ingress", "198.18.0.2")); got != "[goto refuse]" {
		t.Errorf("one that is refused has the rules %s", got)
	}

	var all []*networkingv1.NetworkPolicy
	for i := range 8 {
		p := wide(t, 1500)
		p.Name = fmt.Sprintf("wide-%02d", i)
		p.Spec.Ingress[0].Ports[0].Port.IntVal = int32(20000 + i) // another chain than the others'
		all = append(all, p)
	}
	other := last.DeepCopy()
	other.Namespace = "b"
	all[7].Spec.PodSelector.MatchLabels = map[string]string{"app": "cli"}
	r = Compile(world(append(all[7:], other)...))
	if got := shown(r, "ingress", "198.18.0.2"); got[0] != "open" {
		t.Errorf("what the last policy does not select has the rules %v", got[0])
	}
	r = Compile(world(append(all, other, last)...))
	if len(r.Notes) != 3 || slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, "b/") }) {
		t.Errorf("all of a namespace's together: refused are %q", r.Notes)
	}
	if got := fmt.Sprint(shown(r, "ingress", "198.18.0.4")); got != "[tcp dport 7 accept goto refuse]" {
		t.Errorf("another namespace's pod has the rules %s", got)
	}
}

// TestStrictAllowsNothing: what policies select is denied, in the directions
// that they speak of; walls and others stay as they are.
func TestStrictAllowsNothing(t *testing.T) {
	c := world(read(t, "p", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}, {port: 81}]}]}`))
	c.Strict = true
	r := Compile(c)
	for direction, want := range map[string]string{"ingress": "[goto refuse]", "egress": "[open]"} {
		if got := fmt.Sprint(shown(r, direction, "198.18.0.2")); got != want {
			t.Errorf("%s: %s, want %s", direction, got, want)
		}
	}
	if got := fmt.Sprint(shown(r, "ingress", "198.18.0.3")); got != "[open]" {
		t.Errorf("who is not selected has the rules %s", got)
	}
	if got := fmt.Sprint(shown(r, "tenants", "198.18.0.5")); got != "[ip daddr {.5, .6} accept goto outside]" {
		t.Errorf("a tenant's wall has become %s", got)
	}
}
