// Package network joins a virtual machine to its pod's network: what the
// cluster's network plugin made in the pod's network namespace stays as it is,
// and every frame that arrives there goes to the machine, and back.
//
// The machine's card is a tap device in the pod's namespace. Two traffic
// control rules redirect between it and the pod's own interface, below the
// host's network stack: the guest has the interface's addresses, hardware
// address, size limit and routes, and the namespace's own stack sees nothing
// of its traffic.
package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/tap"
	"redoubt.dev/redoubt/internal/thread"
	"redoubt.dev/redoubt/internal/wire"
)

// tapName is the tap device's in every pod's namespace.
const tapName = "redoubt0"

// Pod is a pod's network as the machine joins it.
type Pod struct {
	// Tap is the card's file, for the machine. The caller closes it.
	Tap *os.File
	// Link is what the guest's card becomes. Without an interface in the
	// namespace (a pod without a network) Name is empty.
	Link wire.Link
}

// Join makes the tap device in the network namespace at path.
func Join(path string) (Pod, error) {
	var pod Pod
	err := within(path, func(*os.File) (err error) {
		if pod.Tap, err = tap.Create(tapName); err != nil {
			return err
		}
		pod.Link, err = connectPod()
		return err
	})
	if err != nil && pod.Tap != nil {
		_ = pod.Tap.Close()
	}
	return pod, err
}

// Spare makes a tap device that is nobody's yet, in a network namespace of its
// own. Adopt takes it from there. The caller closes both files.
func Spare() (device, namespace *os.File, err error) { return tap.Apart(tapName) }

// Describe returns what the guest's card becomes in the network namespace at path,
// as Join does.
func Describe(path string) (link wire.Link, err error) {
	err = within(path, func(*os.File) error {
		own, err := podLink()
		if err == nil && own != nil {
			link, err = describe(own)
		}
		return err
	})
	return link, err
}

// Adopt takes the device that Spare made into the network namespace at path, and
// connects it. The kernel takes its time for that.
func Adopt(path string, namespace *os.File) error {
	return within(path, func(pods *os.File) error {
		if err := enter(namespace); err != nil {
			return err
		}
		card, err := netlink.LinkByName(tapName)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetNsFd(card, int(pods.Fd())); err != nil {
			return fmt.Errorf("move the tap device: %w", err)
		}
		if err := enter(pods); err != nil {
			return err
		}
		own, err := podLink()
		if err != nil || own == nil {
			return err
		}
		return connect(own)
	})
}

// within calls do on a thread in the network namespace at path, and with it.
func within(path string, do func(pods *os.File) error) error {
	done := make(chan error)
	thread.Go(func() {
		done <- func() error {
			pods, err := os.Open(path)
			if err != nil {
				return err
			}
			defer pods.Close()
			if err := enter(pods); err != nil {
				return err
			}
			return do(pods)
		}()
	})
	if err := <-done; err != nil {
		return fmt.Errorf("join the pod's network %s: %w", path, err)
	}
	return nil
}

// connectPod connects the tap device with the pod's interface, if it has one.
func connectPod() (wire.Link, error) {
	link, err := podLink()
	if err != nil || link == nil {
		return wire.Link{}, err
	}
	described, err := describe(link)
	if err != nil {
		return wire.Link{}, err
	}
	return described, connect(link)
}

// enter takes the calling thread into the namespace.
func enter(namespace *os.File) error { return unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET) }

// podLink is the interface that the network plugin made: the only one beside
// loopback, or else eth0.
func podLink() (netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var found []netlink.Link
	for _, l := range links {
		a := l.Attrs()
		// Tunnels' fallback devices (tunl0, sit0) appear in every namespace,
		// without an Ethernet address.
		if a.Flags&net.FlagLoopback != 0 || a.Name == tapName || a.EncapType != "ether" {
			continue
		}
		if a.Name == "eth0" {
			return l, nil
		}
		found = append(found, l)
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	var names []string
	for _, l := range found {
		names = append(names, l.Attrs().Name)
	}
	return nil, fmt.Errorf("the pod has several interfaces (%s) and none is eth0", strings.Join(names, ", "))
}

func describe(link netlink.Link) (wire.Link, error) {
	a := link.Attrs()
	out := wire.Link{Name: a.Name, MAC: a.HardwareAddr, MTU: uint32(a.MTU)}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return out, err
	}
	for _, address := range addresses {
		out.Addresses = append(out.Addresses, address.IPNet.String())
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		return out, err
	}
	for _, r := range routes {
		// The kernel adds those of an address by itself.
		if r.Protocol == unix.RTPROT_KERNEL {
			continue
		}
		out.Routes = append(out.Routes, route(r))
	}
	return out, nil
}

func route(r netlink.Route) wire.Route {
	out := wire.Route{
		Link:   r.Scope == netlink.SCOPE_LINK,
		OnLink: r.Flags&int(netlink.FLAG_ONLINK) != 0,
		IPv6:   r.Family == netlink.FAMILY_V6,
	}
	if ones, _ := prefixLength(r.Dst); ones > 0 {
		out.To = r.Dst.String()
	}
	if r.Gw != nil {
		out.Gateway = r.Gw.String()
		out.Link = false
	}
	if r.Src != nil {
		out.Source = r.Src.String()
	}
	return out
}

func prefixLength(n *net.IPNet) (ones, bits int) {
	if n == nil {
		return 0, 0
	}
	return n.Mask.Size()
}

// connect redirects all frames between link and the tap device.
func connect(link netlink.Link) error {
	card, err := netlink.LinkByName(tapName)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMTU(card, link.Attrs().MTU); err != nil {
		return fmt.Errorf("set the tap device's MTU: %w", err)
	}
	if err := netlink.LinkSetUp(card); err != nil {
		return fmt.Errorf("bring up the tap device: %w", err)
	}
	return errors.Join(redirect(link, card), redirect(card, link))
}

// redirect sends what arrives at one interface out of the other.
func redirect(from, to netlink.Link) error {
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: from.Attrs().Index, Parent: netlink.HANDLE_INGRESS, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	if err := netlink.QdiscReplace(ingress); err != nil {
		return fmt.Errorf("redirect %s: %w", from.Attrs().Name, err)
	}
	action := netlink.NewMirredAction(to.Attrs().Index)
	filter := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: from.Attrs().Index, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Actions: []netlink.Action{action},
	}
	if err := netlink.FilterAdd(filter); err != nil {
		return fmt.Errorf("redirect %s: %w", from.Attrs().Name, err)
	}
	return nil
}
