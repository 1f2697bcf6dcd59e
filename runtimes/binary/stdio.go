package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

// stdio starts the program for every call.
type stdio struct{ file string }

// newStdio starts nothing: what a program does without a call is its own.
func newStdio(file string) (contract.Caller, error) {
	if _, err := exec.LookPath(file); err != nil {
		return nil, contract.Problemf(500, "%s cannot be loaded: %v", file, err)
	}
	return stdio{file}, nil
}

func (s stdio) Call(ctx context.Context, r *http.Request, body []byte) (contract.Answer, error) {
	cmd := exec.CommandContext(ctx, s.file)
	cmd.Env = append(os.Environ(), contract.Environment(r)...)
	cmd.Stdin = bytes.NewReader(body)
	var out contract.Output
	var said contract.Tail
	cmd.Stdout, cmd.Stderr = &out, &said
	group(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.Over() != nil:
		return contract.Answer{}, out.Over()
	case errors.As(err, &exit):
		return contract.Answer{}, said.Failed(err)
	// It need not read what it is sent, and what it leaves running may keep its output.
	case err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, exec.ErrWaitDelay):
		return contract.Answer{}, contract.Problemf(500, "%s cannot be started: %v", s.file, err)
	}
	return out.Answer(), nil
}

// group makes the program's own children end with it.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
}
