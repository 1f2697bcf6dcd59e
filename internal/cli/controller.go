package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	ctrl "sigs.k8s.io/controller-runtime"

	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/serving"
	"redoubt.dev/redoubt/internal/trigger"
)

func newController() *cobra.Command {
	opts := serving.Options{
		Domain: "localhost", Admin: "127.0.0.1:9440",
		NATS: trigger.NATSOptions{URL: "nats://nats.nats-io.svc.cluster.local:4222"}, // where Kubeless looks for it
	}
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controllers of services and functions",
		Long: `Run the controllers of services and functions, on any cluster that has the
definitions and rights of Redoubt's configuration. "redoubt up" starts this role
itself.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkController(opts); err != nil {
				return usage(err)
			}
			cfg, err := kube.Config(kubeconfig, "redoubt-controller")
			if err != nil {
				return err
			}
			logLibraries()
			return serving.Run(cmd.Context(), cfg, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "file that says how to reach the API server (default: what a pod finds in itself)")
	flags.StringSliceVar(&opts.Gateways, "gateways", nil, "admin addresses of the gateways, HOST:PORT, which report the load")
	flags.TextVar(&opts.Gateway, "gateway-address", netip.AddrPort{}, "IP:PORT where services' names inside the cluster lead to")
	flags.StringVar(&opts.Domain, "domain", opts.Domain, "domain of public names: NAME.NAMESPACE.DOMAIN")
	flags.IntVar(&opts.URLPort, "url-port", 80, "port in public URLs")
	flags.StringVar(&opts.NATS.URL, "nats-url", opts.NATS.URL, "NATS servers that NATSTriggers get messages from, nats://HOST:PORT,...; a host NAME.NAMESPACE.svc is a service of the cluster")
	flags.StringVar(&opts.NATS.Credentials, "nats-credentials", "", "file of the user's credentials there, as nsc writes it (default: none)")
	flags.StringVar(&opts.Admin, "admin", opts.Admin, "HOST:PORT of /readyz, /livez and /metrics")
	flags.BoolVar(&opts.LeaderElect, "leader-elect", false, "run beside other controllers, one of which acts")
	return cmd
}

// checkController names the flag that cannot work, and why.
func checkController(opts serving.Options) error {
	if !opts.Gateway.IsValid() || !opts.Gateway.Addr().Is4() || opts.Gateway.Port() == 0 {
		return errors.New("--gateway-address must be the gateway's IPv4 address and port, such as 10.0.0.1:80")
	}
	if opts.URLPort < 1 || opts.URLPort > 65535 {
		return fmt.Errorf("--url-port %d is no port: use 1 to 65535", opts.URLPort)
	}
	if len(validation.IsDNS1123Subdomain(opts.Domain)) > 0 {
		return fmt.Errorf("--domain %q is no domain name: use lower-case letters, digits, hyphens and dots", opts.Domain)
	}
	for _, gateway := range opts.Gateways {
		if err := checkHostPort(gateway); err != nil {
			return fmt.Errorf("--gateways: %w", err)
		}
	}
	if err := checkHostPort(opts.Admin); err != nil {
		return fmt.Errorf("--admin: %w", err)
	}
	return nil
}

func checkHostPort(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: %q is no port", address, port)
	}
	return nil
}

// logLibraries lets what roles are made of write to their logs.
func logLibraries() { ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))) }
