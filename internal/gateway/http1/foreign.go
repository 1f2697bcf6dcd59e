package http1

import (
	"net/http"
	"strings"
)

// CheckForeign refuses of a request that another parser has read, over HTTP/2 for
// one, what Parse refuses and that one lets through: what an instance may read in
// another way than the gateway, or take for the gateway's own word.
func CheckForeign(req *http.Request) error {
	switch {
	case req.Method == http.MethodConnect:
		return ErrConnect
	case req.Host == "" || !all([]byte(req.Host), host):
		return ErrHost
	case strings.ContainsAny(req.URL.RawQuery, " #"): // in the path they are encoded
		return ErrTarget
	}
	for name := range req.Header {
		if looksAlike([]byte(name)) {
			return ErrFieldLookalike
		}
	}
	for name := range req.Trailer {
		if kindOf([]byte(name)) != Other || looksAlike([]byte(name)) {
			return ErrTrailer
		}
	}
	return nil
}
