package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/cluster"
)

func newCertificate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "certificate",
		Aliases: []string{"certificates"},
		Short:   "Renew the certificates of an instance's components",
		Long: `Renew the certificates of an instance's components. An instance does so by
itself, at its boot and once a day, with those that have less than 30 days left.`,
	}
	cmd.AddCommand(newCertificateRotate(a))
	return cmd
}

func newCertificateRotate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Make all certificates anew while the instance runs",
		Long: `Make all certificates and keys anew, but those of the authorities, while the
instance runs, and start each component again with its own. Pods run on, and
requests wait meanwhile. The administrator's kubeconfig is written anew, too. A
former certificate is good until it ends.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			if err := cluster.Rotate(cmd.Context(), inst); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Every component of instance %q has a new certificate.\n", inst.Name)
			return nil
		},
	}
}
