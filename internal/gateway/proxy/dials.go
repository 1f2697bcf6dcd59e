package proxy

import (
	"net/http"
	"net/http/httptrace"
	"sync"
)

// maxDials is how many requests may want a connection to one instance at a time.
// One HTTP/2 connection takes hundreds of requests; but all who waited for an
// instance that has just started would each make one.
const maxDials = 8

// bounded lets no more requests than that ask for a connection at a time: who
// comes later finds one that was made before.
type bounded struct {
	http.RoundTripper

	mu    sync.Mutex
	doors map[string]*door // by address; guarded by mu
}

// door is what requests to one instance pass to get a connection.
type door struct {
	places chan struct{}
	users  int // guarded by bounded's mu
}

func newBounded(t http.RoundTripper) *bounded {
	return &bounded{RoundTripper: t, doors: map[string]*door{}}
}

// RoundTrip waits for a place, and gives it up with the connection.
func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	address := req.URL.Host
	d := b.come(address)
	defer b.leave(address, d)
	select {
	case d.places <- struct{}{}:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	done := sync.OnceFunc(func() { <-d.places })
	defer done()
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { done() }})
	return b.RoundTripper.RoundTrip(req.WithContext(ctx))
}

func (b *bounded) come(address string) *door {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.doors[address]
	if d == nil {
		d = &door{places: make(chan struct{}, maxDials)}
		b.doors[address] = d
	}
	d.users++
	return d
}

// leave forgets a door that nobody uses: instances come and go.
func (b *bounded) leave(address string, d *door) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d.users--; d.users == 0 {
		delete(b.doors, address)
	}
}
