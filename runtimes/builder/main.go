// Command builder runs a runtime's build script in a sandbox, and hands the
// result to the node as a tar file: to the first that asks for it over HTTP, once
// the script has succeeded.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const (
	folder = "/build"
	output = folder + "/out"
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
	cmd := exec.Command("/bin/sh", "-e", "/build.sh")
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
		if err := write(w, output); err != nil {
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
