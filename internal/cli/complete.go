package cli

import (
	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/instance"
)

// completeInstances offers the instances that have been booted.
func completeInstances(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, err := instance.Booted()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
