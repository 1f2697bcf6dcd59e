// Package forward makes the headers that the gateway adds to a request: who
// sent it, what was asked for, and the trace that it belongs to.
package forward

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
)

// Names of the headers, as they are written.
const (
	Forwarded   = "Forwarded"         // RFC 7239
	For         = "X-Forwarded-For"   // the de-facto standard, as the next two
	Proto       = "X-Forwarded-Proto" //
	Host        = "X-Forwarded-Host"  //
	Traceparent = "Traceparent"       // W3C Trace Context
)

// AppendForwarded appends one element of Forwarded.
func AppendForwarded(b []byte, peer netip.Addr, host, proto string) []byte {
	b = append(b, "for="...)
	if peer.Is4() {
		b = peer.AppendTo(b)
	} else {
		b = append(b, `"[`...)
		b = peer.AppendTo(b)
		b = append(b, `]"`...)
	}
	b = append(b, `;host="`...) // a port's colon must be quoted, so all are
	b = append(b, host...)
	b = append(b, `";proto=`...)
	return append(b, proto...)
}

// AppendTraceparent appends a new trace's identity. It says that the trace is
// not sampled: whether it is recorded is for those behind the gateway to say.
func AppendTraceparent(b []byte) []byte {
	var id [24]byte
	for at := 0; at < len(id); at += 8 {
		n := rand.Uint64() | 1 // an identity of zeros would be invalid
		for i := range 8 {
			id[at+i] = byte(n >> (8 * i))
		}
	}
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:16])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[16:])
	return append(b, "-00"...)
}
