package main

import (
	"context"

	"github.com/containerd/containerd/api/events"
	task "github.com/containerd/containerd/api/runtime/task/v2"
	coreevents "github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// reporter passes events on to containerd, and before the end of a container
// says when memory was the reason.
type reporter struct {
	shim.Publisher
	service *service
}

func (s *service) exits() shim.Publisher { return reporter{s.publisher, s} }

// Publish never fails: what containerd does not take at once, for instance
// while it restarts, is kept and sent again. gVisor's service would end over
// an error, and the pod with it.
func (r reporter) Publish(ctx context.Context, topic string, event coreevents.Event) error {
	if exit, ok := event.(*events.TaskExit); ok && exit.ID == exit.ContainerID {
		exit.ExitStatus = r.service.status(exit.ContainerID, exit.ExitStatus)
		if exit.ExitStatus == killed && r.service.endedByMemory(exit.ContainerID) {
			r.publish(ctx, runtime.TaskOOMEventTopic, &events.TaskOOM{ContainerID: exit.ContainerID})
		}
	}
	r.publish(ctx, topic, event)
	return nil
}

func (r reporter) publish(ctx context.Context, topic string, event coreevents.Event) {
	if err := r.Publisher.Publish(ctx, topic, event); err != nil {
		log.L.WithError(err).WithField("topic", topic).Warn("containerd did not take an event; it will be sent again")
	}
}

const (
	// killed is the status of a process that SIGKILL ended.
	killed = 128 + uint32(unix.SIGKILL)
	// unknown is gVisor's for a container whose sandbox was gone before it said
	// how the container ended.
	unknown = 128
)

// status is how a container ended: where the host's kernel killed the whole
// sandbox for its memory, gVisor does not know.
func (s *service) status(container string, known uint32) uint32 {
	if known == unknown && s.endedByMemory(container) {
		return killed
	}
	return known
}

// endedByMemory says whether a container that was killed was killed for want of
// memory.
func (s *service) endedByMemory(container string) bool {
	p := s.sandbox()
	return p != nil && p.outOfMemory(container)
}

// Wait waits for the end of a container or of one of its processes.
func (s *service) Wait(ctx context.Context, r *task.WaitRequest) (*task.WaitResponse, error) {
	answer, err := s.TaskService.Wait(ctx, r)
	if err == nil && r.ExecID == "" {
		answer.ExitStatus = s.status(r.ID, answer.ExitStatus)
	}
	return answer, err
}

// kill ends all processes of a container.
func (s *service) kill(ctx context.Context, container string) {
	_, err := s.TaskService.Kill(ctx, &task.KillRequest{ID: container, Signal: uint32(unix.SIGKILL), All: true})
	if err != nil {
		log.L.WithError(err).WithField("container", container).Warn("container over its memory limit was not killed")
	}
}
