package kube

import (
	"context"
	"log/slog"

	"k8s.io/client-go/util/workqueue"
)

// Work does what is in a queue, one after the other, until the queue is shut down.
// What fails is said, as what, and done again later.
func Work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string], what string, do func(ctx context.Context, key string) error) {
	for {
		key, stopped := queue.Get()
		if stopped {
			return
		}
		if err := do(ctx, key); err != nil && ctx.Err() == nil {
			slog.Error(what, "of", key, "error", err)
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}
