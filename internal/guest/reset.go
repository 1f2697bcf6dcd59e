package guest

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// reset takes back what was made for containers, which are gone: the machine is
// as it was before it was configured, but for what it has learnt.
func (a *agent) reset(*wire.Empty) (*wire.Empty, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.containers) > 0 {
		return nil, fmt.Errorf("%w: there are containers", errdefs.ErrFailedPrecondition)
	}
	errs := []error{a.releasePIDNamespace()}
	for id, v := range a.volumes {
		if err := unix.Unmount(v.path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) { // no mount of its own
			errs = append(errs, fmt.Errorf("unmount volume %s: %w", id, err))
			continue
		}
		errs = append(errs, os.RemoveAll(v.path))
		delete(a.volumes, id)
	}
	for address, dir := range a.layers {
		if err := unix.Unmount(dir, 0); err != nil {
			errs = append(errs, fmt.Errorf("unmount the layer on disk %d: %w", address, err))
			continue
		}
		errs = append(errs, os.Remove(dir))
		delete(a.layers, address)
	}
	return &wire.Empty{}, errors.Join(append(errs, a.makeUsers(wire.Users{}), disconnect())...)
}

// disconnect takes the addresses, and with them the routes, off all network
// cards.
func disconnect() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	var errs []error
	for _, link := range links {
		if link.Attrs().Flags&net.FlagLoopback != 0 || link.Attrs().EncapType != "ether" {
			continue
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		errs = append(errs, err)
		for i := range addresses {
			errs = append(errs, netlink.AddrDel(link, &addresses[i]))
		}
		errs = append(errs, netlink.LinkSetDown(link))
	}
	return errors.Join(errs...)
}
