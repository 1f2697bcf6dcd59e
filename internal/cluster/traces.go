package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/cluster/relay"
)

// Traces say where traces of requests go, and how many.
type Traces struct {
	// Endpoint is the URL of a collector that takes OTLP over HTTP; empty is
	// none. One on the host's loopback is reached through a relay.
	Endpoint string
	// Share of the traces that is recorded, from 0 to 1.
	Share float64
}

func (t Traces) validate() error {
	if u, err := url.Parse(t.Endpoint); t.Endpoint != "" && (err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--trace-endpoint %q is no URL of a collector: give one such as http://127.0.0.1:4318", t.Endpoint)
	}
	if !(t.Share >= 0 && t.Share <= 1) {
		return fmt.Errorf("--trace-share %g is no share: give a number from 0 to 1", t.Share)
	}
	return nil
}

// flags are the gateway's.
func (t Traces) flags() []string {
	if t.Endpoint == "" {
		return nil
	}
	return []string{"--trace-endpoint=" + t.Endpoint, "--trace-share=" + strconv.FormatFloat(t.Share, 'g', -1, 64)}
}

// onLoopback is the collector's port on the host's loopback, empty where it is
// elsewhere.
func (t Traces) onLoopback() string {
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return ""
	}
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// relayTraces lets the gateway, whose loopback is the instance's, reach a
// collector on that of the host.
func (b *boot) relayTraces(ctx context.Context) error {
	port := b.opts.Traces.onLoopback()
	if port == "" {
		return nil
	}
	l, err := netns.Listen(b.inst.NetNS(), "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("--trace-endpoint %s: the instance needs port %s of its own loopback to reach that of the host: %w", b.opts.Traces.Endpoint, port, err)
	}
	b.background.add(func() error {
		return relay.Serve(ctx, l, func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", net.JoinHostPort("localhost", port))
		})
	})
	return nil
}
