package policy

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// span is addresses of IPv4 from the first to the last, as numbers that have
// room for the one behind the last that there is.
type span struct{ first, last uint64 }

func spanOf(p netip.Prefix) span {
	first := p.Masked().Addr().As4()
	begin := uint64(binary.BigEndian.Uint32(first[:]))
	return span{begin, begin + 1<<(32-p.Bits()) - 1}
}

// less is what is left of a span without others, in order.
func (s span) less(others []span) []span {
	others = slices.Clone(others)
	slices.SortFunc(others, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var left []span
	next := s.first
	for _, o := range others {
		if o.first > s.last {
			break
		}
		if o.first > next {
			left = append(left, span{next, o.first - 1})
		}
		next = max(next, o.last+1)
	}
	if next <= s.last {
		left = append(left, span{next, s.last})
	}
	return left
}

// String is the span in nft's words.
func (s span) String() string {
	if s.first == s.last {
		return address(s.first)
	}
	return address(s.first) + "-" + address(s.last)
}

func address(n uint64) string {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n)))).String()
}
