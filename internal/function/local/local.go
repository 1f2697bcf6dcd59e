// Package local runs a function on this machine, behind the same server that
// runs it in a cluster, but in no sandbox: the function has the rights of who
// runs it.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/runtimes/source"
)

// Options say where the server writes.
type Options struct {
	// Output gets what the server and the function write.
	Output io.Writer
	// Progress is told what is done before the server starts.
	Progress build.Progress
}

// Run serves fn on the port of its spec, on all addresses, until ctx ends.
func Run(ctx context.Context, fn *kubeless.Function, opts Options) error {
	lang, err := runtimes.Get(fn.Spec.Runtime)
	if err != nil {
		return err
	}
	files, err := function.Source(fn, source.Large)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "redoubt-function-*")
	if err != nil {
		return fmt.Errorf("make a folder for the function: %w", err)
	}
	defer os.RemoveAll(dir)
	folder := filepath.Join(dir, "kubeless")
	if err := write(folder, files); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return err
	}
	args, err := command(ctx, lang, dir, opts.Progress)
	if err != nil {
		return err
	}
	if lang.Build != nil && lang.Build.Whole {
		program, err := compile(ctx, lang, fn, dir, folder, opts.Progress)
		if err != nil {
			return err
		}
		args = append(args, program)
	}
	return serve(ctx, args, environment(fn, dir, folder), opts.Output)
}

func serve(ctx context.Context, args, env []string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, out
	// Calls have processes of their own; all end with the server, and the
	// server with this program.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the function's server ended: %w", err)
	}
	return errors.New("the function's server ended")
}

// environment is the server's: this one's, the function's and the contract. A
// server is killed, so that its temporary files go with dir.
func environment(fn *kubeless.Function, dir, folder string) []string {
	env := append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp"))
	for _, c := range fn.Spec.Deployment.Spec.Template.Spec.Containers {
		for _, e := range c.Env {
			env = append(env, e.Name+"="+e.Value)
		}
	}
	for _, e := range function.Contract(fn) {
		env = append(env, e.Name+"="+e.Value)
	}
	return append(env, "FUNC_FOLDER="+folder)
}

// write puts the function's files into a folder. Their paths have been checked.
func write(folder string, files []source.File) error {
	for _, f := range files {
		name := filepath.Join(folder, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return fmt.Errorf("write the function's files: %w", err)
		}
		if err := os.WriteFile(name, f.Data, 0o500); err != nil {
			return fmt.Errorf("write the function's files: %w", err)
		}
	}
	return nil
}

// command is the runtime's own, with the server in dir. The programs are this
// machine's, where the runtime's image has them.
func command(ctx context.Context, lang runtimes.Runtime, dir string, progress build.Progress) ([]string, error) {
	if lang.Compiled() {
		program, err := image.Server(ctx, lang, progress)
		if err != nil {
			return nil, err
		}
		name := filepath.Join(dir, "server")
		return []string{name}, os.WriteFile(name, program, 0o700)
	}
	if _, err := os.Stat(lang.Command[0]); err != nil {
		return nil, fmt.Errorf("the runtime %s needs %s, which is not here; install it with: apt-get install %s", lang.Name, lang.Command[0], strings.Join(lang.Packages, " "))
	}
	files, err := lang.Files()
	if err != nil {
		return nil, err
	}
	var args []string
	for _, arg := range lang.Command {
		if data, ok := files[filepath.Base(arg)]; ok {
			arg = filepath.Join(dir, filepath.Base(arg))
			if err := os.WriteFile(arg, data, 0o600); err != nil {
				return nil, fmt.Errorf("write the runtime's server: %w", err)
			}
		}
		args = append(args, arg)
	}
	return args, nil
}
