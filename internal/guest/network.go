package guest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// configureLink gives the machine's network card the pod's identity.
func configureLink(want *wire.Link) error {
	link, err := findLink(want.Hardware)
	if err != nil {
		return err
	}
	name := link.Attrs().Name
	if len(want.MAC) == 6 && !bytes.Equal(want.MAC, want.Hardware) {
		if err := netlink.LinkSetHardwareAddr(link, want.MAC); err != nil {
			return fmt.Errorf("set the hardware address: %w", err)
		}
	}
	if want.Name != "" && want.Name != name {
		if err := netlink.LinkSetName(link, want.Name); err != nil {
			return fmt.Errorf("rename %s: %w", name, err)
		}
		name = want.Name
	}
	if err := netlink.LinkSetMTU(link, int(want.MTU)); err != nil {
		return fmt.Errorf("set the MTU to %d: %w", want.MTU, err)
	}
	// The pod's address was announced already when its own link got it.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte(strconv.Itoa(0)), 0)
	if err := addAddresses(link, want.Addresses); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up: %w", err)
	}
	return addRoutes(link, want.Routes)
}

func findLink(hardware net.HardwareAddr) (netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if bytes.Equal(l.Attrs().HardwareAddr, hardware) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no network card has the address %s", hardware)
}

func addAddresses(link netlink.Link, addresses []string) error {
	for _, text := range addresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("address %s: %w", text, err)
		}
		address := &netlink.Addr{IPNet: ipNet(prefix)}
		if prefix.Addr().Is6() {
			address.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, address); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add the address %s: %w", text, err)
		}
	}
	return nil
}

// addRoutes adds routes in their order, directly reached ones first: the
// others' gateways need them.
func addRoutes(link netlink.Link, routes []wire.Route) error {
	for _, direct := range []bool{true, false} {
		for _, r := range routes {
			if r.Link != direct {
				continue
			}
			route, err := parseRoute(&r)
			if err != nil {
				return err
			}
			route.LinkIndex = link.Attrs().Index
			if err := netlink.RouteReplace(route); err != nil {
				return fmt.Errorf("add the route to %q through %q: %w", r.To, r.Gateway, err)
			}
		}
	}
	return nil
}

func parseRoute(r *wire.Route) (*netlink.Route, error) {
	route := &netlink.Route{Family: unix.AF_INET}
	if r.IPv6 {
		route.Family = unix.AF_INET6
	}
	if r.To != "" {
		to, err := netip.ParsePrefix(r.To)
		if err != nil {
			return nil, fmt.Errorf("route: %w", err)
		}
		route.Dst = ipNet(to)
	} else if r.IPv6 {
		route.Dst = ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	for text, ip := range map[*string]*net.IP{&r.Gateway: &route.Gw, &r.Source: &route.Src} {
		if *text == "" {
			continue
		}
		a, err := netip.ParseAddr(*text)
		if err != nil {
			return nil, fmt.Errorf("route: %w", err)
		}
		*ip = a.AsSlice()
	}
	if r.Link {
		route.Scope = netlink.SCOPE_LINK
	}
	if r.OnLink {
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	return route, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
