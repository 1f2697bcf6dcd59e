package http1

import "bytes"

// Field is one header.
type Field struct {
	Name, Value []byte
	Kind        Kind
}

// Kind says which of the headers that a proxy must understand one is.
type Kind uint8

const (
	Other Kind = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	TE
	Trailer
	Upgrade
	HTTP2Settings
	Expect
	Forwarded
	ForwardedFor
	ForwardedProto
	ForwardedHost
	Traceparent
	Tag
)

// kinds are the names, by length, so that most headers are told apart from all
// of them by one look.
var kinds = func() (table [20][]named) {
	for name, kind := range map[string]Kind{
		"host": Host, "content-length": ContentLength, "transfer-encoding": TransferEncoding,
		"connection": Connection, "keep-alive": KeepAlive, "proxy-connection": ProxyConnection,
		"proxy-authenticate": ProxyAuthenticate, "proxy-authorization": ProxyAuthorization,
		"te": TE, "trailer": Trailer, "upgrade": Upgrade, "http2-settings": HTTP2Settings, "expect": Expect,
		"forwarded": Forwarded, "x-forwarded-for": ForwardedFor, "x-forwarded-proto": ForwardedProto,
		"x-forwarded-host": ForwardedHost, "traceparent": Traceparent, "knative-serving-tag": Tag,
	} {
		table[len(name)] = append(table[len(name)], named{name, kind})
	}
	return table
}()

type named struct {
	name string
	kind Kind
}

func kindOf(name []byte) Kind {
	if len(name) < len(kinds) {
		for _, k := range kinds[len(name)] {
			if EqualFold(name, k.name) {
				return k.kind
			}
		}
	}
	return Other
}

// HopByHop says that a header is for the next hop alone (RFC 9110, section
// 7.6.1, and what proxies agree on besides).
func (k Kind) HopByHop() bool {
	switch k {
	case Connection, KeepAlive, ProxyConnection, ProxyAuthenticate, ProxyAuthorization, TE, TransferEncoding, Upgrade, HTTP2Settings:
		return true
	}
	return false
}

// EqualFold compares with an ASCII text in lower case.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Classes of characters.
const (
	token  = 1 << iota // RFC 9110, section 5.6.2
	text               // what a header's value may have
	target             // what a request target may have
	host               // what a host with its port may have
)

var class = func() (table [256]byte) {
	for c := range table {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			table[c] |= token | host
		}
		if c > 0x20 && c < 0x7f && c != '#' {
			table[c] |= target
		}
		if c >= 0x20 && c != 0x7f || c == '\t' {
			table[c] |= text
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		table[c] |= token
	}
	for _, c := range "-._:[]" {
		table[c] |= host
	}
	return table
}()

// all says whether every byte of b is in the class.
func all(b []byte, in byte) bool {
	for _, c := range b {
		if class[c]&in == 0 {
			return false
		}
	}
	return true
}

// parseField reads one line without its end.
func parseField(line []byte) (Field, error) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !all(line[:colon], token) {
		return Field{}, ErrFieldName // which a folded line is, too
	}
	f := Field{Name: line[:colon], Value: trim(line[colon+1:])}
	if !all(f.Value, text) {
		return Field{}, ErrFieldValue
	}
	if f.Kind = kindOf(f.Name); f.Kind == Other && looksAlike(f.Name) {
		return Field{}, ErrFieldLookalike
	}
	return f, nil
}

// looksAlike finds names that applications behind CGI-like interfaces cannot
// tell from those that the gateway answers for: there "-" and "_" are one.
func looksAlike(name []byte) bool {
	if len(name) >= len(kinds) || bytes.IndexByte(name, '_') < 0 {
		return false
	}
	var dashed [len(kinds)]byte
	n := copy(dashed[:], name)
	for i, c := range dashed[:n] {
		if c == '_' {
			dashed[i] = '-'
		}
	}
	return kindOf(dashed[:n]) != Other
}

// trim takes spaces and tabs off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// elements calls back for each element of a comma-separated list.
func elements(list []byte, yield func([]byte)) {
	for len(list) > 0 {
		element, rest, _ := bytes.Cut(list, comma)
		if element = trim(element); len(element) > 0 {
			yield(element)
		}
		list = rest
	}
}

var comma = []byte{','}
