package cli

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/gateway"
	"redoubt.dev/redoubt/internal/hold"
	"redoubt.dev/redoubt/internal/kube"
)

func newGateway() *cobra.Command {
	opts := gateway.Options{
		Admin:         "127.0.0.1:9441",
		Domain:        "localhost",
		ClusterDomain: "cluster.local",
		Drain:         30 * time.Second,
		HoldsPort:     hold.Port,
	}
	opts.Trace.Share = 1
	var kubeconfig string
	var pods string
	accessLog := true
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Carry requests to the instances of services",
		Long: `Take HTTP requests for every service of a cluster, hold those that have to wait
for an instance, and carry each to one.

Names are NAME.NAMESPACE.DOMAIN outside the cluster, and NAME.NAMESPACE,
NAME.NAMESPACE.svc and NAME.NAMESPACE.svc.CLUSTER-DOMAIN inside it. Sockets
passed as systemd passes them are for requests from outside the cluster; with
a certificate or an authority, clients may speak TLS on them. SIGTERM lets open requests end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if opts.PodRange, err = podRange(pods); err != nil {
				return usage(err)
			}
			if err := opts.Trace.Validate(); err != nil {
				return usage(err)
			}
			cfg, err := kube.Config(kubeconfig, "redoubt-gateway")
			if err != nil {
				return err
			}
			logLibraries()
			if opts.Public, err = gateway.Inherited(); err != nil {
				return err
			}
			if accessLog {
				opts.AccessLog = cmd.ErrOrStderr()
			}
			if opts.Name, err = os.Hostname(); err != nil {
				return err
			}
			opts.Trace.Gateway = opts.Name
			return gateway.Run(cmd.Context(), cfg, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the cluster (default: the pod's own)")
	flags.StringSliceVar(&opts.Listen, "listen", nil, "addresses for requests inside the cluster, host:port")
	flags.StringVar(&opts.Admin, "admin", opts.Admin, "address for health, metrics and load, host:port")
	flags.StringVar(&opts.Certificate.Certificate, "tls-certificate", "", "certificate chain for clients that speak TLS, a PEM file; read again when it changes")
	flags.StringVar(&opts.Certificate.Key, "tls-key", "", "its key, a PEM file")
	flags.StringVar(&opts.Authority.Certificate, "tls-authority", "", "certificate of an authority that signs one for every other name, a PEM file")
	flags.StringVar(&opts.Authority.Key, "tls-authority-key", "", "its key, a PEM file")
	cmd.MarkFlagsRequiredTogether("tls-certificate", "tls-key")
	cmd.MarkFlagsRequiredTogether("tls-authority", "tls-authority-key")
	flags.StringVar(&opts.Domain, "domain", opts.Domain, "end of the names outside the cluster")
	flags.StringVar(&opts.ClusterDomain, "cluster-domain", opts.ClusterDomain, "end of the names inside the cluster")
	flags.StringVar(&pods, "pod-range", "", "addresses of pods, IPv4; with it, a tenant's pods find the tenant's own services alone (default: they find all)")
	flags.IntVar(&opts.HoldsPort, "holds-port", opts.HoldsPort, "port at which nodes are told which pods are used; 0: pods are never frozen")
	flags.DurationVar(&opts.Drain, "drain", opts.Drain, "how long open requests may take after SIGTERM")
	flags.StringVar(&opts.Trace.Endpoint, "trace-endpoint", "", "URL of a collector that takes traces as OTLP over HTTP, as http://127.0.0.1:4318 (default: no traces)")
	flags.Float64Var(&opts.Trace.Share, "trace-share", opts.Trace.Share, "share of the traces that is recorded, 0 to 1")
	flags.BoolVar(&accessLog, "access-log", accessLog, "write a line of JSON for every request to standard error")
	return cmd
}
