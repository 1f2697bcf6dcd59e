package image

import (
	"context"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/runtimes"
)

// Builder is the image that makes what functions of a language need. b is the
// runtime's build.
func Builder(b *runtimes.Build) (Recipe, error) {
	sources, err := runtimes.Builder()
	if err != nil {
		return Recipe{}, err
	}
	pem, err := build.Authorities()
	if err != nil {
		return Recipe{}, err
	}
	p := build.Packages{Names: b.Packages}
	c := build.Contents{
		Files: []build.Addition{{Path: build.Certificates, Data: pem, Mode: 0o644}},
		Owned: map[string]int{"/build": 1000, "/build/home": 1000, "/build/tmp": 1000},
		Settings: ocispec.ImageConfig{
			Entrypoint: []string{"/server"},
			User:       user,
			Env:        append(slices.Clone(environment), "HOME=/build/home", "TMPDIR=/build/tmp"),
			StopSignal: "SIGKILL",
		},
	}
	if b.Script != "" {
		script, err := b.ReadScript()
		if err != nil {
			return Recipe{}, err
		}
		c.Files = append(c.Files, build.Addition{Path: "/build.sh", Data: script, Mode: 0o644})
	}
	for _, a := range b.Archives {
		c.Archives = append(c.Archives, build.Archive(a))
	}
	recipe := compiled(b.Image, p, c, "builder", sources)
	if b.Toolchain {
		return withToolchain(recipe, p, c, sources)
	}
	return recipe, nil
}

// EnsureRuntime puts the image of a runtime into the store, and the one that
// builds for its functions where builds says so.
func EnsureRuntime(ctx context.Context, images *store.Store, r runtimes.Runtime, builds bool, progress build.Progress) error {
	recipe, err := Runtime(r)
	if err != nil {
		return err
	}
	if err := Ensure(ctx, images, recipe, progress); err != nil || !builds {
		return err
	}
	if recipe, err = Builder(r.Builds()); err != nil {
		return err
	}
	return Ensure(ctx, images, recipe, progress)
}
