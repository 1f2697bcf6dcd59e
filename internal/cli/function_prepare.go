package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/runtimes"
)

func newFunctionPrepare(a *app) *cobra.Command {
	var builds bool
	cmd := &cobra.Command{
		Use:   "prepare RUNTIME...",
		Short: "Build the images of runtimes into the node's store",
		Long: `Build the images of runtimes into the node's store, unless they are there.

Deploying a function does so where it is needed. This is for functions that come
another way, such as with kubectl apply, and for doing it ahead of time.`,
		Example:   `  redoubt function prepare python3 nodejs`,
		Args:      cobra.MinimumNArgs(1),
		ValidArgs: runtimes.Names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if _, err := runtimes.Get(name); err != nil {
					return usage(err)
				}
			}
			return a.withImages(cmd.Context(), func(images *store.Store) error {
				for _, name := range args {
					if err := ensureRuntime(cmd.Context(), images, name, builds, steps(cmd.ErrOrStderr())); err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "The image of the runtime %s is in the node's store.\n", name)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&builds, "dependencies", false, "the images that install dependencies as well")
	return cmd
}

// ensureRuntime puts the image of a runtime into the store, and the one that
// builds for its functions where builds says so.
func ensureRuntime(ctx context.Context, images *store.Store, runtime string, builds bool, progress build.Progress) error {
	lang, err := runtimes.Get(runtime)
	if err != nil {
		return err
	}
	return image.EnsureRuntime(ctx, images, lang, builds || lang.Build != nil && lang.Build.Whole, progress)
}
