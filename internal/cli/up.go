package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/instance"
)

func newUp(a *app) *cobra.Command {
	opts := cluster.Defaults
	var detach bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Boot the platform on this machine",
		Long: `Boot real Kubernetes with its container runtimes and Redoubt's roles on this
machine, in a network namespace of their own, and keep them running.

It stays in the foreground until Ctrl-C, which ends everything it started.
With --detach it returns once the platform is ready. Booting an instance that
runs changes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			if err := opts.Validate(); err != nil {
				return usage(err)
			}
			if detach {
				return cluster.Detach(cmd.Context(), inst, opts, cmd.ErrOrStderr(), func(s instance.State) { welcome(cmd, inst, s) })
			}
			// A second signal must not break off the end of the instance.
			signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
			err = cluster.Up(cmd.Context(), inst, opts, cmd.ErrOrStderr(), func(s instance.State) { welcome(cmd, inst, s) })
			if errors.Is(err, cluster.ErrRunning) {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
				return nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&opts.HTTPPort, "http-port", opts.HTTPPort, "port of the gateway on the host's loopback; 0 is any free one")
	flags.IntVar(&opts.APIPort, "api-port", opts.APIPort, "port of the API server on the host's loopback; 0 is any free one")
	prefixVar(flags, &opts.PodRange, "pod-range", "addresses of pods")
	prefixVar(flags, &opts.ServiceRange, "service-range", "addresses of services")
	flags.BoolVar(&opts.Bare, "bare", false, "boot Kubernetes alone, without Redoubt's roles")
	flags.BoolVar(&opts.Measure, "measure", opts.Measure, "find out, once the platform is ready, what pods of each class can do")
	flags.StringVar(&opts.Traces.Endpoint, "trace-endpoint", "", "URL of a collector that takes traces of requests as OTLP over HTTP, as http://127.0.0.1:4318 (default: no traces)")
	flags.Float64Var(&opts.Traces.Share, "trace-share", opts.Traces.Share, "share of the traces that is recorded, 0 to 1")
	flags.DurationVar(&opts.Wait, "wait", opts.Wait, "how long the boot may take")
	flags.BoolVar(&detach, "detach", false, "return once the platform is ready")
	return cmd
}

func prefixVar(flags *pflag.FlagSet, p *netip.Prefix, name, help string) {
	flags.TextVar(p, name, *p, help)
}

// welcome is the end of a boot: where things are and what to do next. Without
// the roles nothing answers at the port of services.
func welcome(cmd *cobra.Command, inst instance.Instance, s instance.State) {
	services := ""
	if !s.Bare {
		services = fmt.Sprintf(`
  Services     http://NAME.NAMESPACE.localhost:%d
               https too, for those who trust %s`, s.HTTPPort, inst.Data("pki", "gateway", "ca.crt"))
	}
	fmt.Fprintf(cmd.OutOrStdout(), `
Instance %q is ready.

  Kubernetes   export KUBECONFIG=%s%s
  Look         redoubt status%s
  Data         %s
  Stop         redoubt down%s      (with --purge: remove the data too)
`, inst.Name, inst.Kubeconfig(), services, nameFlag(inst), inst.DataDir, nameFlag(inst))
}

// nameFlag is what a command for inst needs, nothing for the default one.
func nameFlag(inst instance.Instance) string {
	if inst.Name == instance.DefaultName {
		return ""
	}
	return " --name " + inst.Name
}

// usage marks err as the caller's fault: exit code 2.
func usage(err error) error { return &ExitError{Code: 2, Err: err} }
