package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"redoubt.dev/redoubt/internal/image/archive"
	"redoubt.dev/redoubt/internal/image/store"
)

func newImageImport(a *app) *cobra.Command {
	p := &printFlags{}
	var as string
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Put the images of a docker or OCI archive into the node's store",
		Long: `Put the images of a docker or OCI archive into the node's store: what docker save,
podman save, skopeo copy or redoubt image save wrote, packed with gzip or zstd
or not. Every length, name and digest is checked before anything is stored.

Of an archive for several platforms the one that the node runs is taken.`,
		Example: `  docker save hello | redoubt image import -
  redoubt image import hello.tar --as localhost/hello:v2`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if as != "" {
				full, err := store.TagName(as)
				if err != nil {
					return usage(fmt.Errorf("--as %w", err))
				}
				as = full
			}
			return a.withImages(cmd.Context(), func(images *store.Store) error {
				return importArchive(cmd, p, images, args[0], as)
			})
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "name for the image, instead of those in the archive")
	p.register(cmd)
	return cmd
}

func importArchive(cmd *cobra.Command, p *printFlags, images *store.Store, file, as string) error {
	say := steps(cmd.ErrOrStderr())
	say("check " + file)
	found, closer, err := readArchive(file, cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("read image archive %s: %w", file, err)
	}
	defer closer.Close()
	if err := settleNames(found, as); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	stored := []store.Image{}
	for _, image := range found {
		for _, name := range image.Names {
			say("store " + name)
			if err := images.Add(cmd.Context(), name, image.Image, store.Options{Pinned: true}); err != nil {
				return err
			}
			of, err := images.Get(cmd.Context(), name)
			if err != nil {
				return err
			}
			stored = append(stored, of)
		}
	}
	return printImages(p, cmd.OutOrStdout(), stored)
}

// readArchive reads a file, or stdin for "-".
func readArchive(file string, stdin io.Reader) ([]archive.Named, io.Closer, error) {
	if file == "-" {
		return archive.ReadStream(stdin, os.TempDir(), archive.DefaultLimits)
	}
	return archive.Read(file, os.TempDir(), archive.DefaultLimits)
}

// settleNames gives the one image of an archive the name that the user wants.
func settleNames(found []archive.Named, as string) error {
	if as != "" {
		if len(found) != 1 {
			return fmt.Errorf("it holds %d images, and --as can name one: import it without --as", len(found))
		}
		found[0].Names = []string{as}
		return nil
	}
	for _, image := range found {
		if len(image.Names) == 0 {
			return errors.New("it gives an image no name: choose one with --as, such as --as localhost/hello:latest")
		}
	}
	return nil
}
