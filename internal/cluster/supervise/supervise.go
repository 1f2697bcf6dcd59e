// Package supervise keeps an instance's programs running: it starts each in
// the instance's network namespace and control group, restarts one that ends,
// and writes what it prints to a rotated log.
//
// The programs die with their supervisor, even when it is killed; what they
// started themselves (containerd's shims and the pods in them) does not.
package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
)

const (
	logMegabytes = 10
	logBackups   = 3
)

// Spec is one program to keep running.
type Spec struct {
	// Name is unique; it names the log and the control group engine/<Name>.
	Name string
	// Path is the executable; Args follow its name.
	Path string
	Args []string
	// Env is added to the supervisor's own environment.
	Env []string
	// Listener, when set, becomes the program's file 3, passed as systemd
	// passes sockets (LISTEN_FDS, sd_listen_fds(3)). It stays open across
	// restarts, so that connections wait instead of being refused.
	Listener *os.File
}

// State is what a program is doing.
type State string

const (
	Running State = "running"
	Waiting State = "restarting" // it ended, and is started again after a pause
	Stopped State = "stopped"
)

// Status is a program's state at one moment.
type Status struct {
	Name     string    `json:"name"`
	State    State     `json:"state"`
	PID      int       `json:"pid,omitempty"`
	Restarts int       `json:"restarts"`
	Started  time.Time `json:"started"`
	// LastExit says how the program ended last, empty if it never did.
	LastExit string `json:"lastExit,omitempty"`
}

// Supervisor runs programs until Stop or StopAll.
type Supervisor struct {
	group  cgroup.Tree
	logDir string
	thread *inside

	mu       sync.Mutex
	programs []*program // guarded by mu; in order of their start
}

// New returns a supervisor whose programs live in the network namespace at
// netns and in the control group engine of tree.
func New(netns, logDir string, tree cgroup.Tree) (*Supervisor, error) {
	if err := os.MkdirAll(logDir, 0o700); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	thread, err := goInside(netns)
	if err != nil {
		return nil, err
	}
	return &Supervisor{group: tree, logDir: logDir, thread: thread}, nil
}

// Start starts a program and keeps it running.
func (s *Supervisor) Start(spec Spec) error {
	if err := s.group.Create(Group(spec.Name)); err != nil {
		return err
	}
	p := &program{
		spec:    spec,
		log:     lossy{&lumberjack.Logger{Filename: LogFile(s.logDir, spec.Name), MaxSize: logMegabytes, MaxBackups: logBackups}},
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
		status:  Status{Name: spec.Name},
	}
	cmd, err := s.launch(p)
	if err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	s.mu.Lock()
	s.programs = append(s.programs, p)
	s.mu.Unlock()
	go s.keep(p, cmd)
	return nil
}

// Stop asks a program to end, kills it after grace, and returns when it is
// gone. Stopping one that was never started is no error.
func (s *Supervisor) Stop(name string, grace time.Duration) {
	for _, p := range s.list() {
		if p.spec.Name == name {
			p.end(grace)
		}
	}
}

// Restart asks a program to end, kills it after grace, and returns when it is
// gone; it is started again soon, as whenever it ends.
func (s *Supervisor) Restart(name string, grace time.Duration) {
	for _, p := range s.list() {
		if p.spec.Name == name {
			p.again(grace)
		}
	}
}

// StopAll stops every program, the last started first.
func (s *Supervisor) StopAll(grace time.Duration) {
	programs := s.list()
	for i := len(programs) - 1; i >= 0; i-- {
		programs[i].end(grace)
	}
}

// Status tells the state of every program, in order of their start.
func (s *Supervisor) Status() []Status {
	var all []Status
	for _, p := range s.list() {
		all = append(all, p.snapshot())
	}
	return all
}

// LogFile is where a program's output goes.
func LogFile(dir, name string) string { return filepath.Join(dir, name+".log") }

// Group is the control group that a program starts in, and what it starts.
func Group(name string) string { return filepath.Join("engine", name) }

func (s *Supervisor) list() []*program {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*program(nil), s.programs...)
}

// keep restarts p whenever it ends, until it is told to stop.
func (s *Supervisor) keep(p *program, cmd *exec.Cmd) {
	defer close(p.stopped)
	var pause backoff
	for {
		started := time.Now()
		err := cmd.Wait()
		if p.ended(err) {
			return
		}
		for {
			select {
			case <-p.stop:
				p.ended(err)
				return
			case <-time.After(pause.next(time.Since(started))):
			}
			if cmd, err = s.launch(p); err == nil {
				break
			}
			fmt.Fprintf(p.log, "redoubt: start again: %v\n", err)
		}
	}
}

func (s *Supervisor) launch(p *program) (*exec.Cmd, error) {
	cmd := command(p.spec, p.log)
	if err := s.thread.run(cmd.Start); err != nil {
		return nil, err
	}
	if err := s.group.Add(Group(p.spec.Name), cmd.Process.Pid); err != nil && !errors.Is(err, syscall.ESRCH) {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	p.started(cmd.Process)
	return cmd, nil
}

func command(spec Spec, log io.Writer) *exec.Cmd {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A program of its own group: Ctrl-C at the terminal is the supervisor's to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// containerd's shims keep its pipe open; do not wait for them.
	cmd.WaitDelay = time.Second
	if spec.Listener != nil {
		cmd.ExtraFiles = []*os.File{spec.Listener}
		cmd.Env = append(cmd.Env, "LISTEN_FDS=1")
	}
	return cmd
}
