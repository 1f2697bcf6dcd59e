package node

import (
	"context"
	"log/slog"
	"strings"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/node/execs"
	"redoubt.dev/redoubt/internal/node/forwards"
	"redoubt.dev/redoubt/internal/node/freezer"
)

// byContainer indexes the node's instances by the IDs of their containers.
const byContainer = "container"

// containersOf are the IDs of a pod's containers, as the runtime has them.
func containersOf(o any) ([]string, error) {
	var ids []string
	for _, c := range o.(*corev1.Pod).Status.ContainerStatuses {
		if _, id, ok := strings.Cut(c.ContainerID, "://"); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// followCommands has a pod go on, from now on, in which somebody runs a
// command. In a frozen pod the command would not even start; and gVisor's
// processes crash when they fork after a freeze, a command and another freeze.
func (f *freezing) followCommands(ctx context.Context) {
	err := execs.Follow(ctx, f.runtime, func(container string) {
		found, err := f.pods.GetIndexer().ByIndex(byContainer, container)
		if err != nil || len(found) == 0 {
			return // it is no instance of a service
		}
		uid := string(found[0].(*corev1.Pod).UID)
		f.freezer.Keep(uid)
		f.queue.Add(uid)
	})
	if err != nil {
		slog.Error("commands in frozen pods wait until a request comes", "error", err)
	}
}

// followForwards has a pod go on while ports are forwarded into it.
func (f *freezing) followForwards(ctx context.Context) {
	instances := func() bool { return len(f.pods.GetStore().ListKeys()) > 0 }
	forwards.Follow(ctx, f.runtime, instances, func(uid string, open bool) {
		switch found, err := f.pods.GetIndexer().ByIndex(byUID, uid); {
		case err != nil || len(found) == 0:
			// It is no instance of a service, or gone.
		case open:
			f.freezer.Enter(uid, freezer.Forward)
		default:
			f.freezer.Leave(ctx, uid, freezer.Forward)
		}
	})
}

// entered says that somebody ran a command in the pod, perhaps in the time of
// an earlier role.
func entered(pod *corev1.Pod) bool {
	return kube.PodCondition(pod, serving.PodFrozen).Reason == serving.ReasonCommand
}
