package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/runtimes"
)

// compile runs the build of a runtime whose functions are compiled, on this
// machine, in a folder of dir, and returns the program.
func compile(ctx context.Context, lang runtimes.Runtime, fn *kubeless.Function, dir, folder string, progress build.Progress) (string, error) {
	script, err := lang.Build.ReadScript()
	if err != nil {
		return "", err
	}
	sdk, err := runtimes.SDK()
	if err != nil {
		return "", err
	}
	at, work := filepath.Join(dir, "sdk"), filepath.Join(dir, "build")
	for name, data := range sdk {
		file := filepath.Join(at, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600)); err != nil {
			return "", fmt.Errorf("write what the function is written against: %w", err)
		}
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return "", err
	}
	progress("compile the function")
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", string(script))
	cmd.Dir = work
	cmd.Env = append(environment(fn, dir, folder), "SDK="+at)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the function cannot be compiled: %w: %s", err, out)
	}
	return filepath.Join(work, "out", "handler"), nil
}
