package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/function/local"
	"redoubt.dev/redoubt/runtimes/source"
)

// clusterOnly are flags of a function that mean nothing without a cluster.
var clusterOnly = []string{"runtime-class", "label", "secrets", "node-selectors", "service-account", "memory", "cpu", "runtime-image", "image-pull-policy", "dependencies"}

func newFunctionRunLocal() *cobra.Command {
	w := &functionWriter{}
	cmd := &cobra.Command{
		Use:   "run-local --runtime RUNTIME --handler FILE.FUNCTION --from-file FILE",
		Short: "Run a function on this machine, without a cluster and without a sandbox",
		Long: `Run a function on this machine, behind the same server that runs it in a cluster,
until it is interrupted. There is no cluster and no sandbox: the function has
your rights. The language's program must be installed.`,
		Example: `  redoubt function run-local --runtime python3 --from-file test.py --handler test.hello --port 8081
  curl -d 'Hello world!' http://127.0.0.1:8081`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range clusterOnly {
				if w.set.Changed(name) {
					return usage(fmt.Errorf("--%s means nothing without a cluster: leave it out, or use: redoubt function deploy", name))
				}
			}
			fn := &kubeless.Function{}
			fn.Name = "local"
			if err := errors.Join(w.missing(), w.apply(cmd, fn)); err != nil {
				return err
			}
			if w.archive != nil { // no API stands between
				_, form, _ := strings.Cut(fn.Spec.FunctionContentType, "+")
				fn.Spec.Function = encode(fn, source.Form(form), w.archive)
			}
			port := w.port
			if port == 0 {
				port = serving.DefaultPort
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "The function answers at http://127.0.0.1:%d until it is interrupted.\n", port)
			return local.Run(cmd.Context(), fn, local.Options{Output: cmd.OutOrStdout(), Progress: steps(cmd.ErrOrStderr())})
		},
	}
	w.functionFlags.register(cmd)
	for _, name := range clusterOnly {
		_ = cmd.Flags().MarkHidden(name)
	}
	return cmd
}
