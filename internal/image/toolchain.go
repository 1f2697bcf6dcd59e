package image

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/runtimes"
)

// withToolchain is the recipe of compiled with this machine's Go as well, and
// with what functions are written against, compiled beforehand as far as it is
// the standard library.
func withToolchain(plain Recipe, p build.Packages, c build.Contents, sources map[string][]byte) (Recipe, error) {
	sdk, err := runtimes.SDK()
	if err != nil {
		return Recipe{}, err
	}
	root, version, err := build.GoRoot()
	if err != nil {
		return Recipe{}, err
	}
	make := func(ctx context.Context, progress build.Progress) (*build.Image, error) {
		cache, err := os.MkdirTemp("", "redoubt-gocache-*")
		if err != nil {
			return nil, fmt.Errorf("make temporary folder: %w", err)
		}
		defer os.RemoveAll(cache)
		progress("compile the standard library of " + version)
		if err := build.GoCache(ctx, root, cache); err != nil {
			return nil, err
		}
		with := c
		if with.Files, err = toolchain(root); err != nil {
			return nil, err
		}
		with.Files = append(with.Files, c.Files...)
		with.Files = append(with.Files, build.Addition{Path: "/cache", Source: cache})
		for name, data := range sdk {
			with.Files = append(with.Files, build.Addition{Path: "/sdk/" + name, Data: data, Mode: 0o644})
		}
		with.Links = map[string]string{"/usr/local/bin/go": "/usr/local/go/bin/go"}
		return compiled(plain.Name, p, with, "builder", sources).Make(ctx, progress)
	}
	return Recipe{Name: plain.Name, Key: key(plain.Key, version, sdk, build.Precompiled), Make: make}, nil
}

// toolchain are the parts of a GOROOT that compile programs without cgo.
func toolchain(root string) ([]build.Addition, error) {
	var files []build.Addition
	tools := "pkg/tool/" + runtime.GOOS + "_" + runtime.GOARCH + "/"
	for _, name := range []string{"VERSION", "go.env", "bin/go", "pkg/include", tools + "asm", tools + "compile", tools + "link"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil { // older ones have no go.env
			files = append(files, build.Addition{Path: "/usr/local/go/" + name, Source: filepath.Join(root, name)})
		}
	}
	// A GOROOT may be a link, and its parts as well.
	src, err := filepath.EvalSymlinks(filepath.Join(root, "src"))
	if err != nil {
		return nil, fmt.Errorf("find the standard library's source: %w", err)
	}
	err = filepath.WalkDir(src, func(file string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(file, src)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == "/cmd" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.Type().IsRegular() && !strings.HasSuffix(name, "_test.go"):
			files = append(files, build.Addition{Path: "/usr/local/go/src" + name, Source: file})
		}
		return nil
	})
	return files, err
}
