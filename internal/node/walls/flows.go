package walls

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forget removes connections from and to addresses from the kernel's table of
// them (conntrack). Packets of theirs that come later begin a new one, which is
// judged.
func forget(addresses map[netip.Addr]bool) error {
	const tries = 5
	var err error
	for range tries {
		if _, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, touching(addresses)); err == nil {
			return nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break // else the table has changed under the reader
		}
	}
	return fmt.Errorf("change the table of connections: %w (is the kernel's module nf_conntrack_netlink there?)", err)
}

// touching matches connections by their ends, before and after translation.
type touching map[netip.Addr]bool

// MatchConntrackFlow says whether a connection is one of them.
func (t touching) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	for _, end := range []net.IP{flow.Forward.SrcIP, flow.Forward.DstIP, flow.Reverse.SrcIP, flow.Reverse.DstIP} {
		if address, ok := netip.AddrFromSlice(end); ok && t[address.Unmap()] {
			return true
		}
	}
	return false
}
