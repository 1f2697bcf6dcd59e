package proxy

import (
	"net/http"
	"net/url"

	"redoubt.dev/redoubt/internal/gateway/guard"
)

// judged is what a guard goes by.
func judged(req *http.Request) *guard.Request {
	r := &guard.Request{Method: req.Method, Scheme: clientOf(req).scheme, Host: req.Host, Target: req.URL.RequestURI()}
	if values := req.Header.Values("Authorization"); len(values) == 1 {
		r.Authorization = values[0]
	}
	r.Preflight = req.Header.Get("Origin") != "" && req.Header.Get("Access-Control-Request-Method") != ""
	return r
}

// cutPath takes the first n bytes, as the client sent them, off a path.
func cutPath(u *url.URL, n int) {
	if n == 0 {
		return
	}
	rest := u.EscapedPath()
	rest = rest[min(n, len(rest)):]
	if rest == "" {
		rest = "/"
	}
	if path, err := url.PathUnescape(rest); err == nil {
		u.Path, u.RawPath = path, rest
	}
}
