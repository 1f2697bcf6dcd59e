// Package network joins an instance's network namespace to the host: one pair
// of links with two addresses, masquerading on both sides of it, and nothing
// else. What the instance does inside its namespace (pod links, service
// rules, forwarding) stays there and goes with it.
package network

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/nft"
	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// Uplink is the name, inside the namespace, of the link to the host.
const Uplink = "uplink"

// Links is where each instance takes four addresses from: TEST-NET-2 (RFC
// 5737), which is nobody's network.
var Links = netip.MustParsePrefix("198.51.100.0/24")

// Link is the connection between the host and one namespace.
type Link struct {
	Prefix netip.Prefix // the /30 of both ends
	HostIP netip.Addr
	NodeIP netip.Addr
	MTU    int
}

func newLink(prefix netip.Prefix, mtu int) Link {
	host := prefix.Masked().Addr().Next()
	return Link{Prefix: prefix.Masked(), HostIP: host, NodeIP: host.Next(), MTU: mtu}
}

// Setup makes the namespace at nsPath, or completes one that exists, names it
// id and joins it to the host. pods is masqueraded when it leaves the namespace for
// anywhere but itself.
func Setup(id, nsPath string, pods netip.Prefix) (Link, error) {
	if err := netns.Create(nsPath); err != nil {
		return Link{}, err
	}
	if err := netns.Name(nsPath, id); err != nil {
		return Link{}, err
	}
	link, err := join(id, nsPath)
	if err != nil {
		return Link{}, fmt.Errorf("join network namespace to the host: %w", err)
	}
	err = netns.Do(nsPath, func() error {
		if err := configureInside(link); err != nil {
			return err
		}
		return nft.Apply(context.Background(), insideRules(pods, link.NodeIP))
	})
	if err != nil {
		return Link{}, fmt.Errorf("set up network namespace: %w", err)
	}
	ctx := context.Background()
	if err := nft.Apply(ctx, hostRules(id, link)); err != nil {
		return Link{}, fmt.Errorf("set up the host's side of the network: %w", err)
	}
	if err := letThrough(ctx, hostLinkName(id)); err != nil {
		return Link{}, fmt.Errorf("let the instance through the host's firewall: %w", err)
	}
	return link, nil
}

// Teardown removes the host's side and the namespace with all that is in it.
func Teardown(id, nsPath string) error {
	errs := []error{forget(context.Background(), hostLinkName(id))}
	if l, err := netlink.LinkByName(hostLinkName(id)); err == nil {
		errs = append(errs, netlink.LinkDel(l))
	}
	// "add" first, so that deleting what is not there is no error.
	errs = append(errs, nft.Apply(context.Background(), fmt.Sprintf("add table inet %s\ndelete table inet %s\n", id, id)), netns.Unname(id), netns.Delete(nsPath))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove network: %w", err)
	}
	return nil
}

// Close keeps pods from sending and being sent anything until the node role
// has put its rules in place; what it has put there stays.
func Close(nsPath string, pods netip.Prefix) error {
	err := netns.Do(nsPath, func() error {
		ctx := context.Background()
		if nft.List(ctx, ruleset.Table) != "" {
			return nil
		}
		return nft.Apply(ctx, ruleset.Closed(pods).Replace())
	})
	if err != nil {
		return fmt.Errorf("close the pods' network: %w", err)
	}
	return nil
}

// Open takes away what Close and the node role have put in place.
func Open(nsPath string) error {
	err := netns.Do(nsPath, func() error { return nft.Apply(context.Background(), ruleset.Remove()) })
	if err != nil {
		return fmt.Errorf("open the pods' network: %w", err)
	}
	return nil
}

// hostLinkName fits the kernel's 15 characters whatever the instance's name.
func hostLinkName(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return fmt.Sprintf("redoubt%08x", h.Sum32())
}

// join makes the pair of links unless it is there and in use.
func join(id, nsPath string) (Link, error) {
	name := hostLinkName(id)
	mtu := uplinkMTU()
	if l, err := netlink.LinkByName(name); err == nil {
		if prefix, ok := addressOf(l); ok && peerInside(nsPath) {
			// Whoever made it may have ended before this.
			return newLink(prefix, l.Attrs().MTU), netlink.LinkSetUp(l)
		}
		if err := netlink.LinkDel(l); err != nil {
			return Link{}, err
		}
	}
	prefix, err := freePrefix()
	if err != nil {
		return Link{}, err
	}
	link := newLink(prefix, mtu)
	return link, createPair(name, nsPath, link)
}

func createPair(name, nsPath string, link Link) error {
	// The peer's name is seen only until it moves; it has 15 characters too.
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: link.MTU}, PeerName: "p" + name[1:]}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add link %s: %w", name, err)
	}
	host, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	peer, err := netlink.LinkByName(pair.PeerName)
	if err != nil {
		return err
	}
	if err := moveInto(peer, nsPath); err != nil {
		return err
	}
	if err := addAddress(host, link.HostIP, link.Prefix.Bits()); err != nil {
		return err
	}
	return netlink.LinkSetUp(host)
}

func moveInto(peer netlink.Link, nsPath string) error {
	fd, err := unix.Open(nsPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", nsPath, err)
	}
	defer unix.Close(fd)
	if err := netlink.LinkSetNsFd(peer, fd); err != nil {
		return fmt.Errorf("move link into %s: %w", nsPath, err)
	}
	return netns.Do(nsPath, func() error {
		inside, err := netlink.LinkByName(peer.Attrs().Name)
		if err != nil {
			return err
		}
		return netlink.LinkSetName(inside, Uplink)
	})
}

// configureInside runs inside the namespace.
func configureInside(link Link) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	uplink, err := netlink.LinkByName(Uplink)
	if err != nil {
		return err
	}
	if err := addAddress(uplink, link.NodeIP, link.Prefix.Bits()); err != nil {
		return err
	}
	for _, l := range []netlink.Link{lo, uplink} {
		if err := netlink.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", l.Attrs().Name, err)
		}
	}
	route := &netlink.Route{LinkIndex: uplink.Attrs().Index, Gw: net.IP(link.HostIP.AsSlice())}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	// A pod cannot send as another: what arrives on a link must come from an
	// address that is reached through that link (RFC 3704, strict). The kernel goes
	// by the larger of all's value and the link's own, which a new namespace has
	// from the host: 2, loose, on Ubuntu.
	for _, links := range []string{"all", "default", Uplink} {
		if err := writeSysctl("net/ipv4/conf/"+links+"/rp_filter", "1"); err != nil {
			return err
		}
	}
	// Pods have addresses of IPv4 alone. With IPv6 on, their links would have a
	// second, link-local way to the node, which nobody judges.
	if exists(sysctlPath(newLinksIPv6)) {
		if err := writeSysctl(newLinksIPv6, "1"); err != nil {
			return err
		}
	}
	return writeSysctl("net/ipv4/ip_forward", "1")
}

// newLinksIPv6 turns IPv6 off on links that are made later.
const newLinksIPv6 = "net/ipv6/conf/default/disable_ipv6"

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func addAddress(l netlink.Link, ip netip.Addr, bits int) error {
	address := &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, ip.BitLen())}}
	if err := netlink.AddrReplace(l, address); err != nil {
		return fmt.Errorf("add address %s to %s: %w", ip, l.Attrs().Name, err)
	}
	return nil
}

func addressOf(l netlink.Link) (netip.Prefix, bool) {
	addresses, err := netlink.AddrList(l, nl.FAMILY_V4)
	if err != nil || len(addresses) != 1 {
		return netip.Prefix{}, false
	}
	prefix, ok := toPrefix(addresses[0].IPNet)
	return prefix, ok && Links.Contains(prefix.Addr())
}

func peerInside(nsPath string) bool {
	return netns.Do(nsPath, func() error {
		_, err := netlink.LinkByName(Uplink)
		return err
	}) == nil
}

// freePrefix picks the first /30 of links that touches no address or route of
// the host.
func freePrefix() (netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, nl.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list routes: %w", err)
	}
	var taken []netip.Prefix
	for _, r := range routes {
		if p, ok := toPrefix(r.Dst); ok && p.Bits() > 0 {
			taken = append(taken, p)
		}
	}
	return firstFree(Links, taken)
}

func firstFree(within netip.Prefix, taken []netip.Prefix) (netip.Prefix, error) {
	for a := within.Addr(); within.Contains(a); {
		candidate := netip.PrefixFrom(a, 30)
		free := true
		for _, t := range taken {
			free = free && !t.Overlaps(candidate)
		}
		if free {
			return candidate, nil
		}
		for range 4 {
			a = a.Next()
		}
	}
	return netip.Prefix{}, fmt.Errorf("every /30 of %s is in use on this machine; stop an instance with: redoubt down --name NAME", within)
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones), ok
}

// uplinkMTU is the MTU of the link that carries the host's default route:
// larger packets would be lost on the way out.
func uplinkMTU() int {
	const ethernet = 1500
	if links, err := uplinks(); err == nil && len(links) > 0 {
		return links[0].Attrs().MTU
	}
	return ethernet
}
