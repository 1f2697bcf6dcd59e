package ruleset

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/nft"
)

// Apply makes a table that is what from says what to says, in one transaction.
// What changes elements alone, as nearly all that comes and goes does, is said
// to the kernel directly: starting nft and having it read the tables takes
// longer than the change.
func Apply(ctx context.Context, from, to *Ruleset) error {
	if !sameFrame(from, to) {
		return nft.Apply(ctx, Change(from, to))
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("change elements: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(to.Sets)) {
		gone, added, err := difference(from.Sets[name], to.Sets[name])
		if err != nil {
			return fmt.Errorf("change elements of %s: %w", name, err)
		}
		set := &nftables.Set{Table: &nftables.Table{Name: Table, Family: nftables.TableFamilyINet}, Name: name}
		for some := range slices.Chunk(gone, atOnce) {
			if err := conn.SetDeleteElements(set, some); err != nil {
				return fmt.Errorf("take elements from %s: %w", name, err)
			}
		}
		for some := range slices.Chunk(added, atOnce) {
			if err := conn.SetAddElements(set, some); err != nil {
				return fmt.Errorf("add elements to %s: %w", name, err)
			}
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("change elements: %w", err)
	}
	return nil
}

// sameFrame says whether two rulesets differ in elements alone.
func sameFrame(a, b *Ruleset) bool {
	return maps.EqualFunc(a.Sets, b.Sets, func(a, b Set) bool { return a.Type == b.Type }) &&
		maps.EqualFunc(a.Chains, b.Chains, func(a, b Chain) bool { return a.Hook == b.Hook && slices.Equal(a.Rules, b.Rules) })
}

// difference is what a set loses, and then gets.
func difference(from, to Set) (gone, added []nftables.SetElement, err error) {
	take := func(list *[]nftables.SetElement, key, verdict string) {
		element, wrong := elementOf(key, verdict)
		if wrong != nil && err == nil {
			err = wrong
		}
		*list = append(*list, element)
	}
	for key, verdict := range from.Elements {
		if now, ok := to.Elements[key]; !ok || now != verdict {
			take(&gone, key, "")
		}
	}
	for key, verdict := range to.Elements {
		if was, ok := from.Elements[key]; !ok || was != verdict {
			take(&added, key, verdict)
		}
	}
	return gone, added, err
}

// elementOf is an element in the kernel's form: each part of a key fills whole
// registers of four bytes.
func elementOf(key, verdict string) (nftables.SetElement, error) {
	var e nftables.SetElement
	for part := range strings.SplitSeq(key, " . ") {
		register := make([]byte, 4)
		if address, err := netip.ParseAddr(part); err == nil && address.Is4() {
			copy(register, address.AsSlice())
		} else if proto, ok := protocols[part]; ok {
			register[0] = proto
		} else if port, err := strconv.ParseUint(part, 10, 16); err == nil {
			binary.BigEndian.PutUint16(register, uint16(port))
		} else {
			return e, fmt.Errorf("%q is no key", key)
		}
		e.Key = append(e.Key, register...)
	}
	if chain, ok := strings.CutPrefix(verdict, "goto "); ok {
		e.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}
	} else if verdict != "" {
		return e, fmt.Errorf("%q is no verdict of an element", verdict)
	}
	return e, nil
}

var protocols = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}
