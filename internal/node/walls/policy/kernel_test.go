package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	"redoubt.dev/redoubt/internal/cluster/netns/netnstest"
	"redoubt.dev/redoubt/internal/nft"
	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// table is what the kernel has, in an order that does not follow from when
// things were made.
func table() ([]string, error) {
	out, err := exec.Command("nft", "-j", "list", "table", "inet", ruleset.Table).Output()
	if err != nil {
		return nil, err
	}
	var listed struct {
		Nftables []map[string]map[string]any `json:"nftables"`
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return nil, err
	}
	var all []string
	position := map[any]int{}
	for _, object := range listed.Nftables {
		for kind, fields := range object {
			delete(fields, "handle")
			if kind == "rule" {
				position[fields["chain"]]++
				fields["index"] = position[fields["chain"]]
			}
			text, err := json.Marshal(fields)
			if err != nil {
				return nil, err
			}
			all = append(all, kind+" "+string(text))
		}
	}
	slices.Sort(all)
	return all, nil
}

// TestKernelTakesEveryChange takes a table from each case to the next, and
// holds what has come of it against a table that is made anew.
func TestKernelTakesEveryChange(t *testing.T) {
	netnstest.Inside(t, func() error {
		now := ruleset.Closed(netip.MustParsePrefix("198.18.0.0/16"))
		if err := nft.Apply(t.Context(), now.Replace()); err != nil {
			return err
		}
		for _, test := range cases {
			next := Compile(world(read(t, "p", test.spec)))
			if err := ruleset.Apply(t.Context(), now, next); err != nil {
				return fmt.Errorf("change to %q: %w", test.name, err)
			}
			now = next
		}
		for _, exceptions := range []int{100, 5000} {
			next := Compile(world(holed(t, exceptions)))
			if err := ruleset.Apply(t.Context(), now, next); err != nil {
				return fmt.Errorf("change to a block with %d exceptions: %w", exceptions, err)
			}
			now = next
		}
		for name, p := range map[string]*networkingv1.NetworkPolicy{"wide": wide(t, 1500), "narrow": wide(t, 2)} {
			next := Compile(world(p))
			if err := ruleset.Apply(t.Context(), now, next); err != nil {
				return fmt.Errorf("change to a %s policy: %w", name, err)
			}
			now = next
		}
		// The second of these changes pods, and with them elements alone.
		last := world(read(t, "p", cases[0].spec), read(t, "q", cases[len(cases)-1].spec))
		for range 2 {
			next := Compile(last)
			if err := ruleset.Apply(t.Context(), now, next); err != nil {
				return fmt.Errorf("change pods: %w", err)
			}
			now = next
			last.Pods = append(slices.Clone(last.Pods[1:]), Pod{Namespace: "a", Labels: labels.Set{"app": "web"}, Address: netip.MustParseAddr("198.18.3.1"), Local: true})
		}
		changed, err := table()
		if err != nil {
			return err
		}
		if err := nft.Apply(t.Context(), now.Replace()); err != nil {
			return err
		}
		made, err := table()
		if !slices.Equal(changed, made) {
			t.Errorf("changed to\n%s\nmade\n%s", changed, made)
		}
		return err
	})
}

// crowd is a cluster of pods, ten in each namespace, with a policy and a tenant
// for each namespace.
func crowd(b *testing.B, pods int) *Cluster {
	c := world()
	c.Pods, c.Policies = nil, []*networkingv1.NetworkPolicy{}
	for i := range pods {
		namespace := fmt.Sprintf("n%d", i/10)
		c.Pods = append(c.Pods, Pod{
			Namespace: namespace, Labels: labels.Set{"app": fmt.Sprintf("app%d", i%3)},
			Address: netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(i%250 + 2)}), Local: true,
		})
		if i%10 > 0 {
			continue
		}
		c.Namespaces[namespace] = labels.Set{"redoubt.dev/tenant": namespace}
		p := read(b, "p", `{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {matchLabels: {app: app1}}}], ports: [{port: 8080}]}], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`)
		p.Namespace = namespace
		c.Policies = append(c.Policies, p)
	}
	return c
}

// BenchmarkThousandPods makes the rules of a thousand pods in a hundred
// tenants, each with a policy, and puts them into the kernel.
func BenchmarkThousandPods(b *testing.B) {
	c := crowd(b, 1000)
	netnstest.Inside(b, func() error {
		for b.Loop() {
			if err := nft.Apply(b.Context(), Compile(c).Replace()); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkOnePodAmongThousand takes a pod away, or gives it back.
func BenchmarkOnePodAmongThousand(b *testing.B) {
	c := crowd(b, 1000)
	all := c.Pods
	netnstest.Inside(b, func() error {
		now := Compile(c)
		if err := nft.Apply(b.Context(), now.Replace()); err != nil {
			return err
		}
		for n := 1; b.Loop(); n++ {
			c.Pods = all[:len(all)-n%2]
			next := Compile(c)
			if err := ruleset.Apply(b.Context(), now, next); err != nil {
				return err
			}
			now = next
		}
		return nil
	})
}
