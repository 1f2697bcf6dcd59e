package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/duration"

	"redoubt.dev/redoubt/internal/image/archive"
	"redoubt.dev/redoubt/internal/image/store"
)

func newImage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Fill and look at the node's image store, without a registry",
		Long: `Fill and look at the node's image store, without a registry.

Pods use an image by the name it is stored under, such as localhost/hello:latest,
with imagePullPolicy IfNotPresent or Never.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newImageBuild(a), newImageImport(a), newImageList(a), newImageRemove(a), newImageSave(a), newImageTag(a))
	return cmd
}

// images opens the image store of the instance's node.
func (a *app) images(ctx context.Context) (*store.Store, error) {
	inst, err := a.instance()
	if err != nil {
		return nil, usage(err)
	}
	if _, err := os.Stat(inst.ContainerdSocket()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("instance %q does not run; start it with: redoubt up%s", inst.Name, nameFlag(inst))
	}
	return store.Open(ctx, inst.ContainerdSocket())
}

// withImages runs do on the image store.
func (a *app) withImages(ctx context.Context, do func(*store.Store) error) error {
	images, err := a.images(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(images), images.Close())
}

func newImageList(a *app) *cobra.Command {
	p := &printFlags{}
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images that pods can use at once",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withImages(cmd.Context(), func(images *store.Store) error {
				list, err := images.List(cmd.Context())
				if err != nil {
					return err
				}
				return printImages(p, cmd.OutOrStdout(), list)
			})
		},
	}
	p.register(cmd)
	return cmd
}

func printImages(p *printFlags, out io.Writer, list []store.Image) error {
	return p.print(out, list, func() table {
		t := table{columns: []string{"NAME", "ID", "SIZE", "AGE"}}
		if p.wide() {
			t.columns = append(t.columns, "PLATFORM", "PINNED", "DIGEST")
		}
		for _, i := range list {
			row := []string{i.Name, shortID(i.ID), size(i.Size), duration.HumanDuration(time.Since(i.Stored))}
			if p.wide() {
				row = append(row, i.Platform, fmt.Sprint(i.Pinned), i.Digest)
			}
			t.rows = append(t.rows, row)
		}
		return t
	})
}

// shortID is enough of a digest for people.
func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}

// size is a number of bytes for people, as Kubernetes writes quantities.
func size(bytes int64) string {
	const mebi = 1 << 20
	if bytes >= mebi {
		bytes = bytes / mebi * mebi
	}
	return resource.NewQuantity(bytes, resource.BinarySI).String()
}

func newImageRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove", "delete"},
		Short:   "Remove images; the content goes with its last name",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withImages(cmd.Context(), func(images *store.Store) error {
				var failed error
				for _, arg := range args {
					name, err := store.Name(arg)
					if err == nil {
						err = images.Remove(cmd.Context(), name)
					}
					if err == nil {
						fmt.Fprintf(cmd.ErrOrStderr(), "Removed %s\n", name)
					}
					failed = errors.Join(failed, err)
				}
				return failed
			})
		},
		ValidArgsFunction: a.completeImages,
	}
}

func newImageTag(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tag NAME NEW-NAME",
		Short: "Give an image a second name",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err1 := store.Name(args[0])
			to, err2 := store.TagName(args[1])
			if err := errors.Join(err1, err2); err != nil {
				return usage(err)
			}
			return a.withImages(cmd.Context(), func(images *store.Store) error {
				return images.Tag(cmd.Context(), from, to)
			})
		},
		ValidArgsFunction: a.completeImages,
	}
}

func newImageSave(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "save NAME FILE|-",
		Short: "Write an image as an archive that redoubt, docker and podman read",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := store.Name(args[0])
			if err != nil {
				return usage(err)
			}
			return a.withImages(cmd.Context(), func(images *store.Store) error {
				image, err := images.Read(cmd.Context(), name)
				if err != nil {
					return err
				}
				return writeTo(args[1], cmd.OutOrStdout(), func(w io.Writer) error { return archive.Write(w, image, name) })
			})
		},
		ValidArgsFunction: a.completeImages,
	}
}

// writeTo writes a file whole or not at all; "-" is stdout.
func writeTo(file string, stdout io.Writer, write func(io.Writer) error) (err error) {
	if file == "-" {
		return write(stdout)
	}
	if isSpecial(file) {
		return writeThrough(file, write)
	}
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// isSpecial says whether a path leads to something that is written to as it is,
// such as a device or a pipe. A file in its place would take it away.
func isSpecial(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false // what is not there becomes a file
	}
	// /dev/stdout leads to a file where the shell has redirected it.
	return !info.Mode().IsRegular() || filepath.Dir(filepath.Clean(path)) == "/dev"
}

// writeThrough writes to what is special.
func writeThrough(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// completeImages offers the names in the store to the shell.
func (a *app) completeImages(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	err := a.withImages(cmd.Context(), func(images *store.Store) error {
		list, err := images.List(cmd.Context())
		for _, i := range list {
			names = append(names, i.Name)
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
