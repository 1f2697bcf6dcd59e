package walls

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/labels"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/cluster/netns/netnstest"
	"redoubt.dev/redoubt/internal/node/walls/policy"
	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

var podRange = netip.MustParsePrefix("198.18.0.0/16")

// rules are those of pods by the last part of their address, each in the
// namespace of a tenant.
func rules(pods map[byte]string) *ruleset.Ruleset {
	c := &policy.Cluster{PodRange: podRange, Namespaces: map[string]labels.Set{}}
	for last, tenant := range pods {
		c.Namespaces[tenant] = labels.Set{redoubt.TenantLabel: tenant}
		c.Pods = append(c.Pods, policy.Pod{Namespace: tenant, Address: address(last), Local: true})
	}
	return policy.Compile(c)
}

// same returns the same ruleset whenever it is asked.
func same(r *ruleset.Ruleset) func() *ruleset.Ruleset { return func() *ruleset.Ruleset { return r } }

func address(last byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, last}) }

// listed is the kernel's table as text, empty where there is none.
func listed() string {
	out, _ := exec.Command("nft", "list", "table", "inet", ruleset.Table).Output()
	return string(out)
}

// TestTableFailsClosed gives the kernel what it does not take, and takes away
// what it is given with: the network is closed, or what stood stands on, and it
// is said each time. What comes after is in force again.
func TestTableFailsClosed(t *testing.T) {
	netnstest.Inside(t, func() error {
		now := table{pods: podRange, stale: map[netip.Addr]bool{}}
		set := func(want *ruleset.Ruleset) error { return now.set(t.Context(), want, same(want)) }
		good := rules(map[byte]string{2: "acme"})
		if err := set(good); err != nil {
			return err
		}
		if text := listed(); !strings.Contains(text, "wall-forward") || strings.Contains(text, "closed-forward") {
			t.Fatalf("the control: the kernel has\n%s", text)
		}
		bad := rules(map[byte]string{2: "acme"})
		bad.Chains["broken"] = ruleset.Chain{Rules: []string{"this is no rule"}}
		if err := set(bad); err == nil || !strings.Contains(err.Error(), "the pods' network is closed") {
			t.Errorf("a rule that is none: %v", err)
		}
		if text := listed(); !strings.Contains(text, "closed-forward") || strings.Contains(text, "wall-forward") || now.now != nil {
			t.Errorf("after a change that was refused the kernel has\n%s", text)
		}
		if err := now.set(t.Context(), bad, same(good)); err != nil || !strings.Contains(listed(), "wall-forward") || now.now != good {
			t.Errorf("a rule that is none, of some policy: %v\n%s", err, listed())
		}
		if err := set(good); err != nil || !strings.Contains(listed(), "wall-forward") || now.now == nil {
			t.Errorf("what is right again: %v\n%s", err, listed())
		}
		path := os.Getenv("PATH")
		t.Setenv("PATH", "")
		err := set(rules(map[byte]string{3: "rival"}))
		t.Setenv("PATH", path)
		if err == nil || !strings.Contains(err.Error(), "what stood before stands on") || now.now != nil {
			t.Errorf("without nft: %v", err)
		}
		if text := listed(); !strings.Contains(text, "wall-forward") {
			t.Errorf("without nft, what stood has become\n%s", text)
		}
		return set(good)
	})
}

// connect makes the kernel believe that two addresses are connected.
func connect(from, to netip.Addr) error {
	port := uint16(1000 + int(from.AsSlice()[3])<<8 + int(to.AsSlice()[3]))
	tuple := func(from, to netip.Addr, source, destination uint16) netlink.IPTuple {
		return netlink.IPTuple{SrcIP: net.IP(from.AsSlice()), DstIP: net.IP(to.AsSlice()), Protocol: unix.IPPROTO_UDP, SrcPort: source, DstPort: destination}
	}
	return netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, &netlink.ConntrackFlow{
		FamilyType: unix.AF_INET, TimeOut: 1000, Forward: tuple(from, to, port, 53), Reverse: tuple(to, from, 53, port)})
}

func connections() (string, error) {
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	var all []string
	for _, f := range flows {
		all = append(all, fmt.Sprintf("%d>%d", f.Forward.SrcIP.To4()[3], f.Forward.DstIP.To4()[3]))
	}
	slices.Sort(all)
	return strings.Join(all, " "), err
}

// TestConnectionsEndWithTheirAddress: an address that goes, comes or is within
// another wall brings no connection along; others stay.
func TestConnectionsEndWithTheirAddress(t *testing.T) {
	netnstest.Inside(t, func() error {
		outside := netip.MustParseAddr("203.0.113.9")
		for _, step := range []struct {
			name          string
			before, after map[byte]string
			want          string
		}{
			{"nothing changes", map[byte]string{2: "acme", 3: "acme", 4: "rival"}, map[byte]string{2: "acme", 3: "acme", 4: "rival"}, "2>3 2>9 3>2 4>9"},
			{"one goes", map[byte]string{2: "acme", 3: "acme", 4: "rival"}, map[byte]string{2: "acme", 4: "rival"}, "2>9 4>9"},
			{"one comes where connections are", map[byte]string{3: "acme", 4: "rival"}, map[byte]string{2: "acme", 3: "acme", 4: "rival"}, "4>9"},
			{"one is another's now", map[byte]string{2: "acme", 3: "acme", 4: "rival"}, map[byte]string{2: "acme", 3: "rival", 4: "rival"}, "2>9 4>9"},
			{"the role starts", nil, map[byte]string{2: "acme", 3: "acme", 4: "rival"}, "2>3 2>9 3>2 4>9"},
		} {
			if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
				return err
			}
			now := table{pods: podRange, stale: map[netip.Addr]bool{}}
			if step.before != nil {
				if err := now.set(t.Context(), rules(step.before), same(nil)); err != nil {
					return err
				}
			}
			for _, ends := range [][2]netip.Addr{{address(2), address(3)}, {address(3), address(2)}, {address(2), outside}, {address(4), outside}} {
				if err := connect(ends[0], ends[1]); err != nil {
					return fmt.Errorf("connect: %w", err)
				}
			}
			if err := now.set(t.Context(), rules(step.after), same(nil)); err != nil {
				return err
			}
			if got, err := connections(); err != nil || got != step.want {
				t.Errorf("%s: left are %q, want %q (%v)", step.name, got, step.want, err)
			}
		}
		return nil
	})
}
