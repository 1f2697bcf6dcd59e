package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/nft"
	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

var pods = netip.MustParsePrefix("198.18.0.0/16")

// nsOf is where the test's namespace is.
func nsOf(id string) string { return filepath.Join(os.TempDir(), id) }

func setup(t *testing.T) (string, Link) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	id := fmt.Sprintf("redoubt-test-%d", os.Getpid())
	ns := nsOf(id)
	link, err := Setup(id, ns, pods)
	t.Cleanup(func() {
		if err := Teardown(id, ns); err != nil {
			t.Error(err)
		}
		if tables, _ := exec.Command("nft", "list", "tables").Output(); strings.Contains(string(tables), id) {
			t.Errorf("a table is left: %s", tables)
		}
		if _, err := netlink.LinkByName(hostLinkName(id)); err == nil {
			t.Error("the link is left")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, link
}

func TestHostReachesTheNodeAndNotTheOtherWayRound(t *testing.T) {
	id, link := setup(t)
	ns := nsOf(id)
	inside, err := netns.Listen(ns, "tcp", net.JoinHostPort(link.NodeIP.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if c, err := net.Dial("tcp", inside.Addr().String()); err != nil {
		t.Errorf("the host does not reach the node: %v", err)
	} else {
		c.Close()
	}
	outside, err := net.Listen("tcp", net.JoinHostPort(link.HostIP.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if c, err := netns.Dial(context.Background(), ns, "tcp", outside.Addr().String()); err == nil {
		c.Close()
		t.Error("the instance reaches a port of the host")
	}
}

// A boot that was killed may have left a link whose host's end is down.
func TestALinkThatIsDownIsSetUp(t *testing.T) {
	id, link := setup(t)
	host, err := netlink.LinkByName(hostLinkName(id))
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(host); err != nil {
		t.Fatal(err)
	}
	again, err := Setup(id, nsOf(id), pods)
	if err != nil || again != link {
		t.Errorf("the link is %v (%v), and was %v", again, err, link)
	}
	if host, err = netlink.LinkByName(hostLinkName(id)); err != nil || host.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("the host's end is down still (%v)", err)
	}
}

// The host forwards, for what instances send; what others send to an instance
// goes no further. The host is a namespace here, since forwarding is the whole
// machine's.
func TestHostLetsNobodyInButAnswers(t *testing.T) {
	host := namespace(t, "host")
	onHost := func(f func() error) {
		t.Helper()
		if err := netns.Do(host, f); err != nil {
			t.Fatal(err)
		}
	}
	onHost(func() error { return writeSysctl("net/ipv4/ip_forward", "1") })
	id := func(name string) string { return fmt.Sprintf("redoubt-test-%s-%d", name, os.Getpid()) }
	links := map[string]Link{}
	for _, name := range []string{"a", "b"} {
		t.Cleanup(func() { onHost(func() error { return Teardown(id(name), nsOf(id(name))) }) })
		onHost(func() (err error) {
			links[name], err = Setup(id(name), nsOf(id(name)), pods)
			return err
		})
	}
	inside, err := netns.Listen(nsOf(id("b")), "tcp", net.JoinHostPort(links["b"].NodeIP.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	reach := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		c, err := netns.Dial(ctx, nsOf(id("a")), "tcp", inside.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := reach(); err == nil {
		t.Error("an instance reaches another")
	}
	// The control: without b's rules it does, and a's rules let the answers in.
	onHost(func() error {
		return nft.Apply(t.Context(), fmt.Sprintf("delete chain inet %s forward", id("b")))
	})
	if err := reach(); err != nil {
		t.Errorf("answers do not arrive: %v", err)
	}
}

// A firewall that drops what it does not know of lets through what an instance
// sends where the host's default route leads, and nothing else.
func TestFirewallLetsInstancesOut(t *testing.T) {
	host, world := namespace(t, "host"), namespace(t, "world")
	in := func(ns string, f func() error) {
		t.Helper()
		if err := netns.Do(ns, f); err != nil {
			t.Fatal(err)
		}
	}
	in(host, func() error {
		if err := createPair("toworld", world, newLink(netip.MustParsePrefix("192.0.2.0/30"), 1500)); err != nil {
			return err
		}
		out, err := exec.Command("ip", "route", "add", "default", "via", "192.0.2.2").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return writeSysctl("net/ipv4/ip_forward", "1")
	})
	in(world, func() error {
		return configureInside(newLink(netip.MustParsePrefix("192.0.2.0/30"), 1500))
	})
	ctx := t.Context()
	in(host, func() error {
		_, err := iptables(ctx, "-P", "FORWARD", "DROP")
		return err
	})
	id := fmt.Sprintf("redoubt-test-out-%d", os.Getpid())
	inside := nsOf(id)
	t.Cleanup(func() {
		in(host, func() error { return Teardown(id, inside) })
		in(host, func() error {
			if rules := forwardRules(context.Background()); rules != "-P FORWARD DROP\n" {
				t.Errorf("left in the firewall: %s", rules)
			}
			return nil
		})
	})
	for range 2 { // a second boot adds nothing
		in(host, func() error { _, err := Setup(id, inside, pods); return err })
	}
	server, err := netns.Listen(world, "tcp", "192.0.2.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	reach := func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		c, err := netns.Dial(ctx, inside, "tcp", server.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := reach(); err != nil {
		t.Errorf("the instance does not get out: %v", err)
	}
	in(host, func() error {
		if rules := forwardRules(ctx); strings.Count(rules, "-A ") != 2 {
			t.Errorf("the rules are\n%s", rules)
		}
		return nil
	})
	// The control.
	in(host, func() error { return forget(ctx, hostLinkName(id)) })
	if err := reach(); err == nil {
		t.Error("the firewall drops nothing")
	}
}

// namespace makes a network namespace that plays another machine.
func namespace(t *testing.T, name string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	path := nsOf(fmt.Sprintf("redoubt-test-%s-%d", name, os.Getpid()))
	if err := netns.Create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Delete(path); err != nil {
			t.Error(err)
		}
	})
	return path
}

// A namespace begins with the host's settings for new links, which may let pods
// send as others.
func TestLinksAreStrict(t *testing.T) {
	ns := namespace(t, "strict")
	id := fmt.Sprintf("redoubt-test-strict-%d", os.Getpid())
	if err := netns.Do(ns, func() error { return writeSysctl("net/ipv4/conf/default/rp_filter", "2") }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Teardown(id, ns); err != nil {
			t.Error(err)
		}
	})
	if _, err := Setup(id, ns, pods); err != nil {
		t.Fatal(err)
	}
	if err := netns.Do(ns, func() error {
		// As a pod's is made.
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "pod"}, PeerName: "peer"}); err != nil {
			return err
		}
		for _, link := range []string{Uplink, "pod"} {
			mode, err := os.ReadFile(sysctlPath("net/ipv4/conf/" + link + "/rp_filter"))
			if strings.TrimSpace(string(mode)) != "1" {
				t.Errorf("the filter of %s is %s, %v", link, mode, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestSetupAgainKeepsTheAddresses(t *testing.T) {
	id, link := setup(t)
	again, err := Setup(id, nsOf(id), pods)
	if err != nil {
		t.Fatal(err)
	}
	if again != link {
		t.Errorf("addresses changed from %+v to %+v", link, again)
	}
}

func TestFirstFree(t *testing.T) {
	p := netip.MustParsePrefix
	got, err := firstFree(p("198.51.100.0/24"), []netip.Prefix{p("198.51.100.0/30"), p("198.51.100.4/31")})
	if err != nil || got != p("198.51.100.8/30") {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := firstFree(p("198.51.100.0/24"), []netip.Prefix{p("198.51.0.0/16")}); err == nil {
		t.Errorf("got %v from a range that is taken whole", got)
	}
}

// TestPodsAreClosedUntilSomebodyOpens closes the pods' network, leaves alone
// what is there already, and opens it.
func TestPodsAreClosedUntilSomebodyOpens(t *testing.T) {
	id, _ := setup(t)
	ns := nsOf(id)
	list := func() string {
		var out []byte
		if err := netns.Do(ns, func() (err error) {
			out, err = exec.Command("nft", "list", "tables").Output()
			if err == nil && strings.Contains(string(out), ruleset.Table) {
				out, err = exec.Command("nft", "list", "table", "inet", ruleset.Table).Output()
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if err := Close(ns, pods); err != nil {
		t.Fatal(err)
	}
	if rules := list(); strings.Count(rules, "ip saddr 198.18.0.0/16 drop") != 2 || !strings.Contains(rules, "ip daddr 198.18.0.0/16 drop") {
		t.Errorf("closed is\n%s", rules)
	}
	other := ruleset.New()
	other.Chains["others"] = ruleset.Chain{}
	if err := netns.Do(ns, func() error { return nft.Apply(t.Context(), other.Replace()) }); err != nil {
		t.Fatal(err)
	}
	if err := Close(ns, pods); err != nil {
		t.Fatal(err)
	}
	if rules := list(); !strings.Contains(rules, "chain others") {
		t.Errorf("what the node role has made became\n%s", rules)
	}
	if err := Open(ns); err != nil {
		t.Fatal(err)
	}
	if rules := list(); strings.Contains(rules, ruleset.Table) {
		t.Errorf("open is\n%s", rules)
	}
}
