package cli

import (
	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/demo"
)

func newDemo(a *app) *cobra.Command {
	var opts demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a pod, a service and a function in every sandbox class of the node",
		Long: `Show the three workloads of the talk that Redoubt answers on an instance that
runs: a Pod, a Knative Service that is awakened from zero by a request, and a
Kubeless function, each in every sandbox class that the node offers.

The commands are shown as they run, so that they can be repeated by hand. What
an earlier demo left is removed at the start; what this one makes stays to be
looked at. Ctrl-C removes it too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			opts.Out = cmd.OutOrStdout()
			return demo.Run(cmd.Context(), inst, opts)
		},
	}
	cmd.Flags().StringVar(&opts.Class, "class", "", "show this class alone")
	_ = cmd.RegisterFlagCompletionFunc("class", a.completeClasses)
	return cmd
}
