package main

import (
	"context"
	"sync"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	tasks "github.com/containerd/containerd/api/types/task"
	"google.golang.org/protobuf/proto"
)

// frozenLimit is how long gVisor may take to say how a container is. The
// processes of a sandbox whose control group is frozen never answer, and
// containerd waits for 2 s.
const frozenLimit = 500 * time.Millisecond

// lastAnswers are what gVisor said of each process: while a sandbox is frozen,
// that is how it still is.
type lastAnswers[T any] struct{ known sync.Map }

// process names one: a container's first, or with exec another of it.
type process struct{ container, exec string }

// ask asks gVisor, and answers in its place while the sandbox is frozen.
func (l *lastAnswers[T]) ask(ctx context.Context, of process, f func(context.Context) (*T, error)) (*T, error) {
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

// State says how a process is.
func (s *service) State(ctx context.Context, r *task.StateRequest) (*task.StateResponse, error) {
	return s.states.ask(ctx, process{r.ID, r.ExecID}, func(ctx context.Context) (*task.StateResponse, error) {
		return s.TaskService.State(ctx, r)
	})
}

// measure asks gVisor for a container's statistics.
func (s *service) measure(ctx context.Context, r *task.StatsRequest) (*task.StatsResponse, error) {
	return s.stats.ask(ctx, process{container: r.ID}, func(ctx context.Context) (*task.StatsResponse, error) {
		return s.TaskService.Stats(ctx, r)
	})
}
