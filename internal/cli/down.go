package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/instance"
)

func newDown(a *app) *cobra.Command {
	var purge, yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End the platform",
		Long: `End all processes and pods of the instance and remove its mounts, links, rules
and control groups. Its data stays, so that "redoubt up" goes on where it
was; --purge removes the data too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			if purge && !yes {
				if err := confirm(cmd, inst); err != nil {
					return err
				}
			}
			return cluster.Down(cmd.Context(), inst, purge, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "also remove the instance's data")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before removing data")
	return cmd
}

// confirm asks at the terminal; without one, only --yes will do.
func confirm(cmd *cobra.Command, inst instance.Instance) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usage(errors.New("--purge removes data and there is no terminal to ask at; add --yes"))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Remove %s with all cluster state, images and volumes? [y/N] ", inst.DataDir)
	answer, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if strings.ToLower(strings.TrimSpace(answer)) != "y" {
		return errors.New("nothing was removed")
	}
	return nil
}
