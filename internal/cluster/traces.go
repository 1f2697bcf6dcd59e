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
	"redoubt.dev/redoubt/internal/gateway/trace"
)

// traceFlags are the gateway's, and this command's.
func traceFlags(t trace.Options) []string {
	if t.Endpoint == "" {
		return nil
	}
	return []string{"--trace-endpoint=" + t.Endpoint, "--trace-share=" + strconv.FormatFloat(t.Share, 'g', -1, 64)}
}

// onLoopback is the port of a collector on the host's loopback, empty where it is
// elsewhere.
func onLoopback(endpoint string) string {
	u, err := url.Parse(endpoint)
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
	port := onLoopback(b.opts.Traces.Endpoint)
	if port == "" {
		return nil
	}
	l, err := netns.Listen(b.inst.NetNS(), "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("--trace-endpoint %s: the instance needs port %s of its own loopback to reach that of the host: %w", b.opts.Traces.Endpoint, port, err)
	}
	b.background.add(func() error {
		return relay.Serve(ctx, l, relay.Loopback(port))
	})
	return nil
}
