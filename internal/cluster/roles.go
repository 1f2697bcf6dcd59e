package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/cluster/network"
	"redoubt.dev/redoubt/internal/cluster/supervise"
	"redoubt.dev/redoubt/internal/hold"
	"redoubt.dev/redoubt/internal/microvm/template"
)

// Each role answers /readyz here, inside the network namespace.
var roleAddresses = map[string]string{
	"controller": "127.0.0.1:9440",
	"gateway":    "127.0.0.1:9441",
	"node":       "127.0.0.1:9442",
}

// startRoles starts Redoubt's own parts and waits until each is ready.
func (b *boot) startRoles(ctx context.Context) error {
	specs, err := b.roles()
	if err != nil {
		return err
	}
	if err := b.startAll(specs...); err != nil {
		return err
	}
	return b.rolesReady(ctx)
}

// rolesReady waits until each role is ready that the instance has.
func (b *boot) rolesReady(ctx context.Context) error {
	if b.opts.Bare {
		return nil
	}
	client := b.insideClient()
	for name, address := range roleAddresses {
		if err := poll(ctx, func() error { return ready(ctx, client, address) }); err != nil {
			return fmt.Errorf("role %s: %w", name, err)
		}
	}
	return nil
}

func (b *boot) roles() ([]supervise.Spec, error) {
	node, err1 := b.role("node",
		"--node-name="+b.inst.NodeName(),
		"--holds="+net.JoinHostPort(b.link.NodeIP.String(), strconv.Itoa(hold.Port)),
		"--cgroup-root=/"+b.inst.ID(),
		"--nri-socket="+b.nriSocket(),
		"--cri-socket="+b.inst.ContainerdSocket(),
		"--pod-range="+b.opts.PodRange.String(),
		"--gateway="+net.JoinHostPort(b.link.NodeIP.String(), "80"),
		"--inside="+b.opts.ServiceRange.String(),
		"--inside="+network.Links.String())
	if shim := microVM(); shim != "" {
		// As for shims: what is found out about machines is kept in one place.
		node.Args = append(node.Args, "--guest-image="+filepath.Join(filepath.Dir(shim), filepath.Dir(microVMImage)))
		node.Env = append(slices.Clone(node.Env), template.FolderVariable+"="+b.inst.Data("microvm"))
	}
	controller, err2 := b.role("controller",
		"--gateways="+roleAddresses["gateway"],
		"--gateway-address="+net.JoinHostPort(b.link.NodeIP.String(), "80"),
		fmt.Sprintf("--url-port=%d", b.opts.HTTPPort))
	gateway, err3 := b.role("gateway",
		"--listen="+net.JoinHostPort(b.link.NodeIP.String(), "80"),
		"--pod-range="+b.opts.PodRange.String(),
		"--domain="+publicDomain,
		"--tls-authority="+b.pki("gateway", "ca.crt"),
		"--tls-authority-key="+b.pki("gateway", "ca.key"))
	gateway.Args = append(gateway.Args, traceFlags(b.opts.Traces)...)
	listener, err4 := b.http.(*net.TCPListener).File()
	gateway.Listener = listener
	return []supervise.Spec{node, controller, gateway}, errors.Join(err1, err2, err3, err4)
}

// insideClient makes requests from inside the network namespace.
func (b *boot) insideClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: b.dialInside}}
}

// dialInside connects to what listens inside the network namespace.
func (b *boot) dialInside(ctx context.Context, network, address string) (net.Conn, error) {
	return netns.Dial(ctx, b.inst.NetNS(), network, address)
}

func ready(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return nil
}

// closeListeners gives the host's ports back.
func (b *boot) closeListeners() {
	for _, l := range []net.Listener{b.api, b.http} {
		if l != nil {
			_ = l.Close()
		}
	}
}
