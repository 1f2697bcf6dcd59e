package pool

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// patience is how long a spare may take to load a function; who takes longer is
// given up, and an instance is made as if there had been none.
const patience = 5 * time.Second

// rest is for how long a revision gets no spare after one has failed it.
const rest = 10 * time.Minute

// Take makes a spare an instance of rev. It first has the function, and then its
// labels, so that no request reaches it before.
func (p *Pool) Take(ctx context.Context, rev *serving.Revision, pod *corev1.Pod) (name string, err error) {
	if sizeFor(rev) == 0 {
		return "", nil
	}
	spare, err := p.prepared(ctx, rev)
	if spare == nil && err == nil {
		spare, err = p.give(ctx, rev, pod)
	}
	if spare == nil || err != nil {
		return "", err
	}
	before := spare.DeepCopy()
	spare.Labels, spare.Annotations, spare.OwnerReferences = pod.Labels, pod.Annotations, pod.OwnerReferences
	if err := p.client.Patch(ctx, spare, client.MergeFrom(before)); err != nil {
		return "", p.giveUp(ctx, spare, err)
	}
	if spare.DeletionTimestamp != nil {
		return "", nil // its pool had become smaller before
	}
	return spare.Name, nil
}

// giveUp deletes a spare that may have a function already, for nobody to have it.
func (p *Pool) giveUp(ctx context.Context, spare *corev1.Pod, why error) error {
	if err := p.client.Delete(ctx, spare); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete spare %s, which failed: %w", spare.Name, err)
	}
	ctrl.LoggerFrom(ctx).Info("a spare instance was given up", "pod", spare.Name, "why", why.Error())
	return nil
}
