package cli

import (
	"io"

	"github.com/spf13/cobra"
)

// shells are those that completion is written for.
var shells = map[string]struct {
	write func(root *cobra.Command, out io.Writer) error
	file  string // where the shell looks for it
}{
	"bash": {func(root *cobra.Command, out io.Writer) error { return root.GenBashCompletionV2(out, true) }, "/etc/bash_completion.d/redoubt"},
	"fish": {func(root *cobra.Command, out io.Writer) error { return root.GenFishCompletion(out, true) }, "/etc/fish/completions/redoubt.fish"},
	"zsh":  {func(root *cobra.Command, out io.Writer) error { return root.GenZshCompletion(out) }, "/usr/local/share/zsh/site-functions/_redoubt"},
}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "Print a script that completes commands, instances and classes in a shell",
		Long: `Print a script with which a shell completes redoubt's commands and flags, and
the names of what there is: instances, components, classes, services.

Once, for all later shells:

  redoubt completion bash > ` + shells["bash"].file + `
  redoubt completion fish > ` + shells["fish"].file + `
  redoubt completion zsh  > ` + shells["zsh"].file + `

For this bash alone:

  source <(redoubt completion bash)`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "fish", "zsh"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return shells[args[0]].write(cmd.Root(), cmd.OutOrStdout())
		},
	}
}
