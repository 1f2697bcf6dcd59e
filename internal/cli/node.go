package cli

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/node"
)

func newNode() *cobra.Command {
	var kubeconfig string
	opts := node.Options{}
	var pods, gateway string
	var inside []string
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Label a node with the sandboxes that it offers, freeze its idle instances, keep tenants' floors and walls",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.NodeName == "" {
				return usage(errors.New("--node-name is missing: give the name of the Kubernetes node that this process runs on"))
			}
			if err := readRanges(&opts, pods, gateway, inside); err != nil {
				return usage(err)
			}
			cfg, err := kube.Config(kubeconfig, "redoubt-node")
			if err != nil {
				return err
			}
			logLibraries()
			return node.Run(cmd.Context(), cfg, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "file to reach the API server with (default: the pod's own service account)")
	flags.StringVar(&opts.NodeName, "node-name", "", "Kubernetes node that this process runs on")
	flags.StringVar(&opts.GuestImage, "guest-image", "", "folder of the guest image, beside the microvm class's shim; with it the node's label says whether machines run under KVM")
	flags.StringVar(&opts.Admin, "admin", "127.0.0.1:9442", "address of /livez and /readyz")
	flags.StringVar(&opts.Holds, "holds", "", "address where gateways say which pods they use, host:port (default: pods are never frozen)")
	flags.StringVar(&opts.CgroupRoot, "cgroup-root", "/", "control group that the kubelet's are below (its own --cgroup-root)")
	flags.StringVar(&opts.NRI, "nri-socket", "", "container runtime's NRI socket, where sandboxes below their tenant's floor are refused (default: not checked here)")
	flags.StringVar(&opts.CRI, "cri-socket", "/run/containerd/containerd.sock", "container runtime's CRI socket, to stop what runs below its floor")
	flags.StringVar(&pods, "pod-range", "", "addresses of this node's pods, IPv4; with it and --nri-socket, walls between tenants and network policies are kept here (default: they are not)")
	flags.StringArrayVar(&inside, "inside", nil, "further addresses that are not outside the cluster, such as those of services: no tenant's pods reach them (repeatable)")
	flags.StringVar(&gateway, "gateway", "", "address where gateways that keep tenants apart (their --pod-range) take requests, host:port: tenants' pods reach it (default: none)")
	return cmd
}

// podRange reads the range of pods' addresses; none where text is empty.
func podRange(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("--pod-range: %q is no range of IPv4 addresses; write it like 10.244.0.0/24", text)
	}
	return prefix, nil
}

// readRanges reads what walls are built of.
func readRanges(opts *node.Options, pods, gateway string, inside []string) (err error) {
	if opts.PodRange, err = podRange(pods); err != nil {
		return err
	}
	if gateway != "" {
		if opts.Gateway, err = netip.ParseAddrPort(gateway); err != nil || !opts.Gateway.Addr().Is4() {
			return fmt.Errorf("--gateway: %q is no address and port of IPv4; write it like 10.0.0.5:80", gateway)
		}
	}
	for _, text := range inside {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || !prefix.Addr().Is4() {
			return fmt.Errorf("--inside: %q is no range of IPv4 addresses; write it like 10.96.0.0/12", text)
		}
		opts.Inside = append(opts.Inside, prefix)
	}
	return nil
}
