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
	if exit, ok := event.(*events.TaskExit); ok && r.service.endedByMemory(exit) {
		r.publish(ctx, runtime.TaskOOMEventTopic, &events.TaskOOM{ContainerID: exit.ContainerID})
	}
	r.publish(ctx, topic, event)
	return nil
}

func (r reporter) publish(ctx context.Context, topic string, event coreevents.Event) {
	if err := r.Publisher.Publish(ctx, topic, event); err != nil {
		log.L.WithError(err).WithField("topic", topic).Warn("containerd did not take an event; it will be sent again")
	}
}

// endedByMemory says whether exit is a container's end for want of memory.
func (s *service) endedByMemory(exit *events.TaskExit) bool {
	p := s.sandbox()
	return p != nil && exit.ID == exit.ContainerID && exit.ExitStatus == 128+uint32(unix.SIGKILL) && p.outOfMemory(exit.ContainerID)
}

// kill ends all processes of a container.
func (s *service) kill(ctx context.Context, container string) {
	_, err := s.TaskService.Kill(ctx, &task.KillRequest{ID: container, Signal: uint32(unix.SIGKILL), All: true})
	if err != nil {
		log.L.WithError(err).WithField("container", container).Warn("container over its memory limit was not killed")
	}
}
