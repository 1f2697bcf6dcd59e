package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// GoProgram makes an image of the Go main package pkg, as the go command
// names it from folder dir ("" is the current one). The result depends on the
// sources and the Go version alone; $GOFLAGS adds build tags and the like.
// The program may not use cgo.
func GoProgram(ctx context.Context, dir, pkg string, c Contents, progress Progress) (*Image, error) {
	target, program, err := GoBinary(ctx, dir, pkg, progress)
	if err != nil {
		return nil, err
	}
	progress("write layer")
	return Program(program, "/"+path.Base(target), c)
}

// GoBinary compiles the package and returns its import path and the program.
func GoBinary(ctx context.Context, dir, pkg string, progress Progress) (target string, program []byte, err error) {
	target, err = goList(ctx, dir, pkg)
	if err != nil {
		return "", nil, err
	}
	work, err := os.MkdirTemp("", "redoubt-go-*")
	if err != nil {
		return "", nil, fmt.Errorf("make temporary folder: %w", err)
	}
	defer os.RemoveAll(work)
	progress("compile " + target)
	file := filepath.Join(work, path.Base(target))
	// -dwarf=false is how Redoubt itself is built: on the machine that built
	// it, the standard library is compiled already.
	if _, err := goCommand(ctx, dir, "build", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false", "-ldflags=-s -w -buildid=", "-o", file, pkg); err != nil {
		return "", nil, err
	}
	program, err = os.ReadFile(file)
	return target, program, err
}

// goList returns the import path of the main package that pkg means.
func goList(ctx context.Context, dir, pkg string) (string, error) {
	out, err := goCommand(ctx, dir, "list", "-f", "{{.Name}} {{.ImportPath}}", "--", pkg)
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 1 {
		return "", fmt.Errorf("%s means %d packages: name one, with a main function", pkg, len(lines))
	}
	name, target, _ := strings.Cut(lines[0], " ")
	if name != "main" {
		return "", fmt.Errorf("%s is a library (package %s): name a package with a main function", target, name)
	}
	return target, nil
}

func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("the go command is missing: install Go (apt-get install golang-go, or from go.dev)")
	}
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, lastLines(stderr.String()))
	}
	return stdout.String(), nil
}

// lastLines is what a failed program said in the end, bounded and on one line.
func lastLines(text string) string {
	const most = 600
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = "... " + text[len(text)-most:]
	}
	return text
}

// GoRoot is where this machine has Go, and its version.
func GoRoot() (root, version string, err error) {
	out, err := goCommand(context.Background(), "", "env", "GOROOT", "GOVERSION")
	if err != nil {
		return "", "", err
	}
	root, version, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return root, version, nil
}

// Precompiled are the packages of the standard library that GoCache compiles: what
// most programs use.
var Precompiled = []string{"database/sql", "encoding/csv", "encoding/json", "encoding/xml", "html/template", "log/slog", "net/http", "os/exec", "os/signal", "regexp", "text/template"}

// GoCache compiles Precompiled of a GOROOT into the folder
// cache, which anybody may add to, for programs without cgo.
func GoCache(ctx context.Context, root, cache string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "go"), append([]string{"build"}, Precompiled...)...)
	cmd.Dir = cache // no module is there
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=-trimpath -buildvcs=false", "GOCACHE="+cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the standard library: %w: %s", err, lastLines(string(out)))
	}
	// The time of the last clearing is that of this machine.
	if err := os.Remove(filepath.Join(cache, "trim.txt")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return filepath.WalkDir(cache, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(file, 0o777)
	})
}
