// Package execs tells in which containers of a node somebody runs a command
// (kubectl exec and cp), as containerd's events say. The kubelet's interface to
// container runtimes has no such events, and a runtime other than containerd
// none at all.
package execs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	events "github.com/containerd/containerd/api/services/events/v1"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"redoubt.dev/redoubt/internal/cri"
)

const (
	// firstPause and lastPause are between attempts to follow events: a
	// containerd that was restarted is back within a second or two.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// filter is in containerd's own language: commands in Kubernetes' containers.
const filter = `namespace==k8s.io,topic=="/tasks/exec-added"`

// Follow calls began with the ID of each container that is to run a command,
// before the command starts, one after the other until ctx ends. Where the
// runtime at the socket has no events it says so and returns.
func Follow(ctx context.Context, socket string, began func(container string)) error {
	_, conn, err := cri.Connect(socket)
	if err != nil {
		return fmt.Errorf("follow the container runtime's events: %w", err)
	}
	defer conn.Close()
	client := events.NewEventsClient(conn)
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		heard, err := listen(ctx, client, began)
		if status.Code(err) == codes.Unimplemented {
			slog.Warn("commands in frozen pods wait until a request comes: the container runtime has no events", "socket", socket)
			return nil
		}
		if heard {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// listen passes events on until the stream ends, and says whether any came.
func listen(ctx context.Context, client events.EventsClient, began func(container string)) (heard bool, err error) {
	stream, err := client.Subscribe(ctx, &events.SubscribeRequest{Filters: []string{filter}})
	if err != nil {
		return false, err
	}
	for {
		envelope, err := stream.Recv()
		if err != nil {
			return heard, err
		}
		heard = true
		event, err := typeurl.UnmarshalAny(envelope.Event)
		if err != nil {
			slog.Warn("event of the container runtime is not understood", "topic", envelope.Topic, "error", err)
			continue
		}
		if e, ok := event.(*eventstypes.TaskExecAdded); ok {
			began(e.ContainerID)
		}
	}
}
