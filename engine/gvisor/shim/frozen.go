package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	tasks "github.com/containerd/containerd/api/types/task"
	"google.golang.org/protobuf/proto"
)

// frozenLimit is how long gVisor may take to say how a container is. A sandbox
// that is frozen meanwhile never answers, and containerd waits for 2 s.
const frozenLimit = 500 * time.Millisecond

// lastAnswers are what gVisor said of each process: while a sandbox is frozen,
// that is how it still is.
type lastAnswers[T any] struct{ known sync.Map }

// process names one: a container's first, or with exec another of it.
type process struct{ container, exec string }

// ask asks gVisor, and answers in its place while the sandbox is frozen.
func (l *lastAnswers[T]) ask(ctx context.Context, of process, frozen bool, f func(context.Context) (*T, error)) (*T, error) {
	if last, ok := l.known.Load(of); ok && frozen {
		return last.(*T), nil
	}
	limited, cancel := context.WithTimeout(ctx, frozenLimit)
	defer cancel()
	answer, err := f(limited)
	if err == nil {
		l.known.Store(of, answer)
		return answer, nil
	}
	if last, ok := l.known.Load(of); ok && limited.Err() != nil && ctx.Err() == nil {
		return last.(*T), nil
	}
	return nil, err
}

// created and started know how a container's first process is before anybody
// asks: a command in a sandbox that is frozen begins with that question.
func (s *service) created(r *task.CreateTaskRequest, pid uint32) {
	s.states.known.Store(process{container: r.ID}, &task.StateResponse{
		ID: r.ID, Bundle: r.Bundle, Pid: pid, Status: tasks.Status_CREATED,
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
	})
}

func (s *service) started(container string) {
	of := process{container: container}
	if last, ok := s.states.known.Load(of); ok {
		now := proto.CloneOf(last.(*task.StateResponse))
		now.Status = tasks.Status_RUNNING
		s.states.known.CompareAndSwap(of, last, now)
	}
}

// forget drops what is known of a container or process that is gone.
func (l *lastAnswers[T]) forget(of process) { l.known.Delete(of) }

// freezer is where the kernel says whether a sandbox's processes stand still.
type freezer struct {
	file string // empty where it does not
	line string // of the file, for yes
}

// freezerOf finds the one of process pid on a host with version 1 or 2.
func freezerOf(pid int) (freezer, error) {
	g, err := cgroupOf(pid, "freezer")
	if err != nil {
		return freezer{}, err
	}
	return freezerIn(g), nil
}

func freezerIn(g cgroup) freezer {
	switch {
	case g.dir == "":
		return freezer{}
	case g.unified:
		return freezer{filepath.Join(g.dir, "cgroup.events"), "frozen 1"}
	}
	return freezer{filepath.Join(g.dir, "freezer.state"), "FROZEN"}
}

func (f freezer) frozen() bool {
	content, _ := os.ReadFile(f.file) // the sandbox may have ended
	for line := range strings.Lines(string(content)) {
		if strings.TrimSpace(line) == f.line {
			return true
		}
	}
	return false
}

// frozen says whether the pod's sandbox is.
func (s *service) frozen() bool {
	p := s.sandbox()
	return p != nil && p.freezer.frozen()
}

// State says how a process is.
func (s *service) State(ctx context.Context, r *task.StateRequest) (*task.StateResponse, error) {
	return s.states.ask(ctx, process{r.ID, r.ExecID}, s.frozen(), func(ctx context.Context) (*task.StateResponse, error) {
		return s.TaskService.State(ctx, r)
	})
}

// measure asks gVisor for a container's statistics.
func (s *service) measure(ctx context.Context, r *task.StatsRequest) (*task.StatsResponse, error) {
	return s.stats.ask(ctx, process{container: r.ID}, s.frozen(), func(ctx context.Context) (*task.StatsResponse, error) {
		return s.TaskService.Stats(ctx, r)
	})
}
