package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"redoubt.dev/redoubt/internal/image/archive"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/image/store"
)

// imageBuild is the flags of "image build".
type imageBuild struct {
	binary, goPackage           string
	packages                    build.Packages
	files, links, env, labels   []string
	entrypoint, cmd, user, work string
	save                        string
}

func newImageBuild(a *app) *cobra.Command {
	p := &printFlags{}
	b := &imageBuild{}
	cmd := &cobra.Command{
		Use:   "build NAME",
		Short: "Build an image of a program, a Go package or Debian packages",
		Long: `Build an image without a base image, a registry or a daemon, of one of

  --binary FILE   a static Linux program
  --go PACKAGE    a Go main package, compiled without cgo
  --package NAME  packages of this machine's distribution with what they depend
                  on, unpacked by mmdebstrap; their scripts are not run

and put it into the node's store, or with --save into an archive. The same
inputs give the same image.`,
		Example: `  redoubt image build localhost/hello:latest --go ./cmd/hello
  redoubt image build localhost/web:latest --package nginx-light --file nginx.conf:/etc/nginx/nginx.conf --entrypoint '["nginx", "-g", "daemon off;"]'
  redoubt image build localhost/tool:v1 --binary ./tool --env LEVEL=debug --save tool.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := store.TagName(args[0])
			if err != nil {
				return usage(err)
			}
			contents, err := b.contents()
			if err != nil {
				return usage(err)
			}
			return b.run(cmd, a, p, name, contents)
		},
	}
	b.register(cmd)
	p.register(cmd)
	return cmd
}

func (b *imageBuild) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.binary, "binary", "", "static program to make the image of")
	f.StringVar(&b.goPackage, "go", "", "Go main package to compile and make the image of, as the go command names it")
	f.StringSliceVar(&b.packages.Names, "package", nil, "Debian or Ubuntu package to make the image of, NAME or NAME=VERSION; may be repeated")
	f.StringArrayVar(&b.packages.Exclude, "exclude", nil, "with --package: leave out the files and folders that match the pattern, such as '/usr/share/doc'")
	f.StringArrayVar(&b.files, "file", nil, "add a file or folder, SOURCE:PATH; may be repeated")
	f.StringArrayVar(&b.links, "link", nil, "add a symbolic link, PATH=TARGET; may be repeated")
	f.StringArrayVarP(&b.env, "env", "e", nil, "set an environment variable, NAME=VALUE; may be repeated")
	f.StringArrayVarP(&b.labels, "label", "l", nil, "set a label of the image, NAME=VALUE; may be repeated")
	f.StringVar(&b.entrypoint, "entrypoint", "", `program to run with its arguments, as words or as a JSON list (default: the program of --binary or --go)`)
	f.StringVar(&b.cmd, "cmd", "", "default arguments, as words or as a JSON list")
	f.StringVar(&b.user, "user", "", "user to run as, UID[:GID] (default: 65532 with --binary and --go, root with --package)")
	f.StringVar(&b.work, "workdir", "", "folder to run in")
	f.StringVar(&b.save, "save", "", "write an archive to this file (- is stdout) instead of the node's store; needs no running instance")
	_ = cmd.MarkFlagFilename("binary")
	_ = cmd.MarkFlagFilename("save", "tar")
}

// contents checks the flags and turns them into what the image holds.
func (b *imageBuild) contents() (build.Contents, error) {
	c := build.Contents{Links: map[string]string{}, Settings: ocispec.ImageConfig{User: b.user, WorkingDir: b.work, Labels: map[string]string{}}}
	var kinds int
	for _, given := range []bool{b.binary != "", b.goPackage != "", len(b.packages.Names) > 0} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		return c, errors.New("an image is made of one thing: use exactly one of --binary, --go and --package")
	}
	if len(b.packages.Exclude) > 0 && len(b.packages.Names) == 0 {
		return c, errors.New("--exclude leaves out files of packages: use it with --package")
	}
	for _, file := range b.files {
		source, to, ok := cutLast(file, ":")
		if !ok || source == "" || !path.IsAbs(to) {
			return c, fmt.Errorf("--file %q is not SOURCE:PATH with an absolute path, as in --file app.py:/app.py", file)
		}
		c.Files = append(c.Files, build.Addition{Source: source, Path: to})
	}
	links, err1 := pairs("--link", b.links)
	for name := range links {
		if !path.IsAbs(name) {
			err1 = errors.Join(err1, fmt.Errorf("--link %q: the path must be absolute, as in --link /bin/sh=busybox", name))
		}
	}
	maps.Copy(c.Links, links)
	labels, err2 := pairs("--label", b.labels)
	c.Settings.Labels = labels
	env, err3 := pairs("--env", b.env)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		c.Settings.Env = append(c.Settings.Env, name+"="+env[name])
	}
	var err4, err5 error
	c.Settings.Entrypoint, err4 = words("--entrypoint", b.entrypoint)
	c.Settings.Cmd, err5 = words("--cmd", b.cmd)
	return c, errors.Join(err1, err2, err3, err4, err5)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// pairs reads NAME=VALUE arguments.
func pairs(flag string, args []string) (map[string]string, error) {
	values := map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s %q is not NAME=VALUE", flag, arg)
		}
		values[name] = value
	}
	return values, nil
}

// words reads a command in either form of a Dockerfile, without a shell.
func words(flag, text string) ([]string, error) {
	if !strings.HasPrefix(strings.TrimSpace(text), "[") {
		return strings.Fields(text), nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf(`%s %q is no JSON list of strings, as in ["program", "argument"]`, flag, text)
	}
	return list, nil
}

func (b *imageBuild) run(cmd *cobra.Command, a *app, p *printFlags, name string, c build.Contents) error {
	ctx, say := cmd.Context(), steps(cmd.ErrOrStderr())
	var images *store.Store
	if b.save == "" { // found out before the work rather than after it
		var err error
		if images, err = a.images(ctx); err != nil {
			return err
		}
		defer images.Close()
	}
	image, err := b.make(ctx, c, say)
	if err != nil {
		return fmt.Errorf("build image %s: %w", name, err)
	}
	defer image.Close()
	if b.save != "" {
		say("write " + b.save)
		return writeTo(b.save, cmd.OutOrStdout(), func(w io.Writer) error { return archive.Write(w, image.Image, name) })
	}
	say("store " + name)
	if err := images.Add(ctx, name, image.Image, store.Options{Pinned: true}); err != nil {
		return err
	}
	made, err := images.Get(ctx, name)
	if err != nil {
		return err
	}
	return printImages(p, cmd.OutOrStdout(), []store.Image{made})
}

func (b *imageBuild) make(ctx context.Context, c build.Contents, say build.Progress) (*build.Image, error) {
	switch {
	case b.binary != "":
		say("read " + b.binary)
		return build.Binary(b.binary, c)
	case b.goPackage != "":
		return build.GoProgram(ctx, "", b.goPackage, c, say)
	}
	return build.Debian(ctx, b.packages, c, say)
}
