package policy

import (
	"net/netip"

	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// Moved are addresses of pods that came, went, or are within other walls than
// before. Where it is not known what was before, there are none: a node role
// that is started again must not end what is open.
func Moved(before, after *ruleset.Ruleset) []netip.Addr {
	if before == nil {
		return nil
	}
	var moved []netip.Addr
	place := func(r *ruleset.Ruleset, address string) string {
		if _, there := r.Sets[pods].Elements[address]; !there {
			return "nobody's"
		}
		return r.Sets[tenants].Elements[address]
	}
	add := func(address string) {
		if place(before, address) == place(after, address) {
			return
		}
		if parsed, err := netip.ParseAddr(address); err == nil {
			moved = append(moved, parsed)
		}
	}
	for address := range before.Sets[pods].Elements {
		add(address)
	}
	for address := range after.Sets[pods].Elements {
		if _, twice := before.Sets[pods].Elements[address]; !twice {
			add(address)
		}
	}
	return moved
}
