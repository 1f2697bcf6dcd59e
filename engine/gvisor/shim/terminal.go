package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// keyboardName is the name of the process that has a terminal for its own.
const keyboardName = "redoubt-gvisor-keyboard"

// keyboardTerminal is the file descriptor on which it gets the terminal.
const keyboardTerminal = 3

// keyboardSignals are what the host's kernel sends for keys such as Ctrl-C,
// and when the terminal's size changes.
var keyboardSignals = []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGWINCH}

// create makes a container, and gives the keys of its terminal their meaning:
// a terminal's signals go to a process of the host that the terminal controls,
// and "runsc create" leaves none behind.
func (s *service) create(ctx context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	p := s.sandbox()
	if !r.Terminal || p == nil {
		return s.TaskService.Create(ctx, r)
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	before := terminals()
	answer, err := s.TaskService.Create(ctx, r)
	if err != nil {
		return nil, err
	}
	for number := range terminals() {
		if before[number] {
			continue
		}
		if err := startKeyboard(number, p.sandbox.socket, r.ID); err != nil {
			log.L.WithError(err).WithField("container", r.ID).Warn("the terminal sends no signals")
		}
	}
	return answer, nil
}

// Start starts a container's first process, or one more of it. The terminal
// of that one is no new container's.
func (s *service) Start(ctx context.Context, r *task.StartRequest) (*task.StartResponse, error) {
	if r.ExecID != "" {
		s.opening.RLock()
		defer s.opening.RUnlock()
	}
	answer, err := s.TaskService.Start(ctx, r)
	if err == nil && r.ExecID == "" {
		s.started(r.ID)
	}
	return answer, err
}

// terminals are the numbers of those whose masters this process has open.
func terminals() map[int]bool {
	found := map[int]bool{}
	entries, _ := os.ReadDir("/proc/self/fd") // the shim has seen its own before
	for _, entry := range entries {
		// A descriptor may be closed meanwhile.
		if what, err := os.Readlink("/proc/self/fd/" + entry.Name()); err != nil || filepath.Base(what) != "ptmx" {
			continue
		}
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil {
			found[number] = true
		}
	}
	return found
}

// startKeyboard starts the process that the terminal controls. The kernel ends
// it with the terminal, and the shim's reaper waits for it.
func startKeyboard(number int, socket, container string) error {
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("open the terminal of container %s: %w", container, err)
	}
	defer terminal.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the shim's own program: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{keyboardName, socket, container}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.ExtraFiles = []*os.File{terminal}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: keyboardTerminal}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the keyboard of container %s: %w", container, err)
	}
	return cmd.Process.Release()
}

// keyboard passes signals on to the processes in the terminal's foreground.
func keyboard(s sandbox, container string) {
	signals := make(chan os.Signal, len(keyboardSignals))
	signal.Notify(signals, keyboardSignals...)
	// Were it open here, the terminal would not end with the container.
	_ = unix.Close(keyboardTerminal)
	for sig := range signals {
		// The container may not run yet, or not any more.
		_ = s.signalForeground(container, int32(sig.(syscall.Signal)))
	}
}
