// Command builder makes what a function needs, in a sandbox: it unpacks a source
// that comes in parts, and runs the runtime's build script. It hands the results to
// the node as a tar file, in which the folder out is the script's and source has
// the function's files: to the first that asks for it over HTTP, once all has
// succeeded.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"redoubt.dev/redoubt/runtimes/source"
)

const (
	folder = "/build"
	script = "/build.sh"
	// port is the one that the node asks.
	port = ":8080"
)

func main() {
	err := run()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && failed.Exited() {
		os.Exit(failed.ExitCode()) // the script has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if err := unpack(source.PartsFolder, filepath.Join(folder, unpacked)); err != nil {
		return fmt.Errorf("the source cannot be unpacked: %w", err)
	}
	if _, err := os.Stat(script); errors.Is(err, fs.ErrNotExist) {
		return serve()
	}
	cmd := exec.Command("/bin/sh", "-e", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the build failed: %w", err)
	}
	return serve()
}

// serve ends when the result has been taken.
func serve() error {
	taken := make(chan error, 1)
	server := &http.Server{Addr: port, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := write(w, folder, "out", unpacked); err != nil {
			fmt.Fprintln(os.Stderr, "hand the result over:", err)
			panic(http.ErrAbortHandler) // who asked must not take it for the whole
		}
		select {
		case taken <- nil:
		default:
		}
	})}
	go func() { taken <- server.ListenAndServe() }()
	if err := <-taken; err != nil {
		return err
	}
	return ignoreClosed(server.Shutdown(context.Background()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
