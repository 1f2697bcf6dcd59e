package node

import (
	"context"
	"log/slog"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/internal/node/execs"
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

// commands keeps pods from being frozen while somebody runs a command in them:
// in a frozen pod it would not even start.
type commands struct {
	ctx      context.Context
	freezing *freezing
	entered  map[string]entered // by container
}

// entered is a container with commands.
type entered struct {
	pod   string // its UID
	execs map[string]struct{}
}

func newCommands(ctx context.Context, f *freezing) *commands {
	return &commands{ctx: ctx, freezing: f, entered: map[string]entered{}}
}

// Began implements execs.Listener.
func (c *commands) Began(container, exec string) {
	e, known := c.entered[container]
	if !known {
		uid, ok := c.freezing.podOf(container)
		if !ok {
			return
		}
		e = entered{pod: uid, execs: map[string]struct{}{}}
		c.entered[container] = e
		c.freezing.freezer.Keep(uid)
	}
	e.execs[exec] = struct{}{}
}

// Ended implements execs.Listener.
func (c *commands) Ended(container, exec string) {
	e, known := c.entered[container]
	if delete(e.execs, exec); known && (len(e.execs) == 0 || exec == container) {
		c.let(container)
	}
}

// Lost implements execs.Listener. The commands ended with the runtime that
// passed on what they read and write.
func (c *commands) Lost() {
	for container := range c.entered {
		c.let(container)
	}
}

func (c *commands) let(container string) {
	c.freezing.freezer.Let(c.ctx, c.entered[container].pod)
	delete(c.entered, container)
}

// followCommands has pods run while somebody runs a command in them.
func (f *freezing) followCommands(ctx context.Context) {
	if err := execs.Follow(ctx, f.runtime, newCommands(ctx, f)); err != nil {
		slog.Error("commands in frozen pods wait until a request comes", "error", err)
	}
}

// podOf is the UID of the instance that the container is part of.
func (f *freezing) podOf(container string) (string, bool) {
	found, err := f.pods.GetIndexer().ByIndex(byContainer, container)
	if err != nil || len(found) == 0 {
		return "", false
	}
	return string(found[0].(*corev1.Pod).UID), true
}
