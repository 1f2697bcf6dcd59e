package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"redoubt.dev/redoubt/internal/instance"
)

// Detach boots the instance in a process of its own, shows its progress on
// out, and returns once it is ready or has failed. An instance that runs is
// ready.
func Detach(ctx context.Context, inst instance.Instance, opts Options, out io.Writer, ready func(instance.State)) error {
	unlock, err := lock(inst)
	if errors.Is(err, ErrRunning) {
		fmt.Fprintf(out, "Instance %q runs already\n", inst.Name)
		unlock, err = alreadyRunning(ctx, inst, opts.Wait, ready)
	}
	if err != nil || unlock == nil {
		return err
	}
	err = claim(inst)
	unlock()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(inst.LogDir(), 0o700); err != nil {
		return fmt.Errorf("make log folder: %w", err)
	}
	path := inst.Data("logs", "supervisor.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	progress, err := os.Open(path)
	if err != nil {
		return err
	}
	defer progress.Close()
	cmd, err := detached(inst, opts, log)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	return follow(inst, cmd, progress, out, ready)
}

// alreadyRunning waits for whoever boots the instance, which may have begun
// just now, or ends it. It takes the lock of one that has ended.
func alreadyRunning(ctx context.Context, inst instance.Instance, wait time.Duration, ready func(instance.State)) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var state instance.State
	err = poll(ctx, func() (err error) {
		if unlock, err = lock(inst); !errors.Is(err, ErrRunning) {
			return err
		}
		if state, err = inst.LoadState(); err == nil && !state.Ready {
			err = errors.New("it is still booting, or ending")
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("wait for the instance: %w", err)
	}
	if unlock == nil {
		ready(state)
	}
	return unlock, nil
}

// detached is this program again, in the foreground of a session of its own.
func detached(inst instance.Instance, opts Options, log *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find redoubt itself: %w", err)
	}
	cmd := exec.Command(self, "up",
		"--name="+inst.Name, "--data-dir="+inst.DataDir,
		fmt.Sprintf("--http-port=%d", opts.HTTPPort), fmt.Sprintf("--api-port=%d", opts.APIPort),
		"--pod-range="+opts.PodRange.String(), "--service-range="+opts.ServiceRange.String(),
		fmt.Sprintf("--bare=%t", opts.Bare), fmt.Sprintf("--measure=%t", opts.Measure), "--wait="+opts.Wait.String())
	cmd.Args = append(cmd.Args, traceFlags(opts.Traces)...)
	cmd.Stderr = log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, nil
}

// follow shows the supervisor's progress until it is ready or has ended.
func follow(inst instance.Instance, cmd *exec.Cmd, progress io.Reader, out io.Writer, ready func(instance.State)) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if _, err := io.Copy(out, progress); err != nil {
			return fmt.Errorf("show progress: %w", err)
		}
		if state, err := inst.LoadState(); err == nil && state.Ready && state.SupervisorPID == cmd.Process.Pid {
			ready(state)
			return nil
		}
		select {
		case <-ended:
			_, _ = io.Copy(out, progress)
			return errors.New("the platform did not boot; the reason is above, more is in: redoubt logs COMPONENT")
		case <-time.After(pollInterval):
		}
	}
}
