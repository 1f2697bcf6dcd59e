package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slowly makes connections so slowly that all requests would make their own.
func slowly(ctx context.Context, network, address string) (net.Conn, error) {
	time.Sleep(50 * time.Millisecond)
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Of many requests that come at once, few make a connection; without the bound
// all do.
func TestDialsAreBounded(t *testing.T) {
	// A connection is known to others a moment after the first request has it.
	const requests, few = 200, 6 * maxDials
	for name, bound := range map[string]func(http.RoundTripper) http.RoundTripper{
		"bounded": func(t http.RoundTripper) http.RoundTripper { return newBounded(t) },
		"control": func(t http.RoundTripper) http.RoundTripper { return t },
	} {
		var connections atomic.Int64
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		defer server.Close()
		transport := &http.Transport{DialContext: slowly, Protocols: server.Config.Protocols}
		defer transport.CloseIdleConnections()
		client := http.Client{Transport: bound(transport)}
		var all sync.WaitGroup
		for range requests {
			all.Go(func() {
				resp, err := client.Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			})
		}
		all.Wait()
		if n := connections.Load(); (n <= few) != (name == "bounded") {
			t.Errorf("%s: %d requests made %d connections, few are %d", name, requests, n, few)
		}
	}
}

// Who waits for a place gives up with its request, and a connection that cannot
// be made gives its place back.
func TestDialsGiveUp(t *testing.T) {
	stuck := make(chan struct{})
	b := newBounded(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		<-stuck
		return nil, errors.New("no")
	}})
	var all sync.WaitGroup
	ask := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://instance", nil)
		if err != nil {
			return err
		}
		_, err = b.RoundTrip(req)
		return err
	}
	for range maxDials {
		all.Go(func() { _ = ask(t.Context()) })
	}
	for {
		b.mu.Lock()
		d := b.doors["instance"]
		full := d != nil && len(d.places) == maxDials
		b.mu.Unlock()
		if full {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up got %v", err)
	}
	close(stuck)
	all.Wait()
	if err := ask(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("the next request got %v", err)
	}
	if len(b.doors) != 0 {
		t.Errorf("%d doors are kept", len(b.doors))
	}
}
