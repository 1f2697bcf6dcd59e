package front

import (
	"redoubt.dev/redoubt/internal/gateway/async"
	"redoubt.dev/redoubt/internal/gateway/guard"
	"redoubt.dev/redoubt/internal/gateway/http1"
)

// judged is what a guard goes by.
func (x *exchange) judged() *guard.Request {
	r := &guard.Request{Method: string(x.req.Method), Scheme: x.server.Scheme, Host: string(x.req.Host), Target: string(x.req.Target)}
	origin, method, authorizations := false, false, 0
	for i := range x.req.List {
		switch f := &x.req.List[i]; {
		case f.Kind != http1.Other:
		case http1.EqualFold(f.Name, "origin"):
			origin = true
		case http1.EqualFold(f.Name, "access-control-request-method"):
			method = true
		case http1.EqualFold(f.Name, "authorization"):
			authorizations++
			r.Authorization = string(f.Value)
		}
	}
	r.Preflight = origin && method
	if authorizations > 1 {
		r.Authorization = ""
	}
	return r
}

// wantsAsync says that the client does not want to wait, or asks for what
// became of a request for which it did not.
func (x *exchange) wantsAsync(cut int) bool {
	var prefer []string
	for i := range x.req.List {
		if f := &x.req.List[i]; f.Kind == http1.Other && http1.EqualFold(f.Name, "prefer") {
			prefer = append(prefer, string(f.Value))
		}
	}
	return async.Wants(string(x.req.Method), string(x.req.Target[cut:]), prefer)
}

// appendTarget writes the request's target as the instance gets it.
func (x *exchange) appendTarget(b []byte) []byte {
	target := x.req.Target[x.cut:]
	if x.cut > 0 && (len(target) == 0 || target[0] != '/') {
		b = append(b, '/')
	}
	return append(b, target...)
}

// keeps says that a header of the request is for the gateway alone.
func (x *exchange) keeps(f *http1.Field) bool {
	return x.guard.TakesPassword() && http1.EqualFold(f.Name, "authorization")
}

// overrides says that a header of the answer is the gateway's to say.
func (x *exchange) overrides(f *http1.Field) bool {
	return x.guard.CORS() && http1.EqualFold(f.Name, allowOrigin)
}

const allowOrigin = "access-control-allow-origin"
