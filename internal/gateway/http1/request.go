package http1

import "bytes"

// maxMethod bounds a method's name, in bytes.
const maxMethod = 32

// Request is the head of a request.
type Request struct {
	Fields
	Method []byte
	// Target is the path with the query, or *.
	Target []byte
	// Host is the name in the Host header, with its port.
	Host []byte
	// Tag is the value of Knative-Serving-Tag.
	Tag []byte
	// Upgrade is the protocol that the client wants to change to; empty for
	// none. HTTP/2 is never one: it would go past the parser.
	Upgrade []byte
	// Trailers says that the client accepts trailers.
	Trailers bool
	// Continue says that the client sends the body only when told to.
	Continue bool
}

// Parse reads a head as RequestHead has found it.
func (r *Request) Parse(head []byte) error {
	r.Host, r.Tag, r.Upgrade, r.Trailers, r.Continue = nil, nil, nil, false, false
	line, fields := cutLine(head)
	authority, err := r.parseLine(line)
	if err != nil {
		return err
	}
	if err := r.Fields.parse(fields); err != nil {
		return err
	}
	for i := range r.List {
		if r.List[i].Kind == Other {
			continue
		}
		if err := r.noteField(&r.List[i]); err != nil {
			return err
		}
	}
	return r.check(authority)
}

// parseLine reads the request line, and returns the authority of a target in
// absolute form.
func (r *Request) parseLine(line []byte) (authority []byte, err error) {
	method, rest, ok := bytes.Cut(line, space)
	raw, version, ok2 := bytes.Cut(rest, space)
	if !ok || !ok2 || len(method) == 0 || len(method) > maxMethod || !all(method, token) || len(raw) == 0 {
		return nil, ErrRequestLine
	}
	r.Method = method
	if r.Minor, err = parseVersion(version); err != nil {
		return nil, err
	}
	if !all(raw, target) {
		return nil, ErrTarget
	}
	return r.parseTarget(raw)
}

func (r *Request) parseTarget(raw []byte) (authority []byte, err error) {
	switch {
	case string(r.Method) == "CONNECT":
		return nil, ErrConnect
	case raw[0] == '/', len(raw) == 1 && raw[0] == '*' && string(r.Method) == "OPTIONS":
		r.Target = raw
		return nil, nil
	}
	const scheme = "http://"
	if len(raw) <= len(scheme) || !EqualFold(raw[:len(scheme)], scheme) {
		return nil, ErrTarget
	}
	raw = raw[len(scheme):]
	end := bytes.IndexAny(raw, "/?")
	switch {
	case end == 0:
		return nil, ErrTarget
	case end < 0:
		r.Target = slash
		return raw, nil
	case raw[end] == '?':
		return nil, ErrTarget // a query without a path: who reads it how?
	}
	r.Target = raw[end:]
	return raw[:end], nil
}

func parseVersion(b []byte) (minor int, err error) {
	const prefix = "HTTP/1."
	if len(b) == len(prefix)+1 && string(b[:len(prefix)]) == prefix {
		switch b[len(prefix)] {
		case '1':
			return 1, nil
		case '0':
			return 0, nil
		}
	}
	if len(b) >= 6 && string(b[:5]) == "HTTP/" && b[5] >= '0' && b[5] <= '9' && all(b, token|target) {
		return 0, ErrVersion
	}
	return 0, ErrRequestLine
}

func (r *Request) noteField(f *Field) error {
	switch f.Kind {
	case Host:
		if r.Host != nil || len(f.Value) == 0 || !all(f.Value, host) {
			return ErrHost
		}
		r.Host = f.Value
	case Tag:
		r.Tag = f.Value
	case Expect:
		if !EqualFold(f.Value, "100-continue") {
			return ErrExpect
		}
		r.Continue = r.Minor == 1
	case TE:
		elements(f.Value, func(e []byte) { r.Trailers = r.Trailers || EqualFold(e, "trailers") })
	case Upgrade:
		if r.upgrades && MayUpgrade(f.Value) {
			r.Upgrade = f.Value
		}
	}
	return nil
}

// MayUpgrade says whether an instance may be asked to change to what an Upgrade
// header names. HTTP/2 would go past the gateway; anybody may ignore such a header.
func MayUpgrade(to []byte) bool { return !EqualFold(to, "h2c") && bytes.IndexByte(to, ',') < 0 }

// check compares what several headers say.
func (r *Request) check(authority []byte) error {
	if r.Host == nil {
		return ErrHost
	}
	if authority != nil && !bytes.EqualFold(authority, r.Host) {
		return ErrHostMismatch
	}
	if len(r.Upgrade) > 0 && r.HasBody() {
		return ErrUpgradeBody
	}
	return nil
}

// HasBody says that bytes follow the head.
func (r *Request) HasBody() bool { return r.Chunked || r.Length > 0 }

// Idempotent says that doing the request twice is as doing it once (RFC 9110,
// section 9.2.2).
func (r *Request) Idempotent() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

var (
	space = []byte{' '}
	slash = []byte{'/'}
)
