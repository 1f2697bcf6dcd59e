package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/runtimes"
)

// patience is how long a spare may take to load a function; who takes longer is
// given up, and an instance is made as if there had been none.
const patience = 5 * time.Second

// Take makes a spare an instance of rev. It first has the function, and then its
// labels, so that no request reaches it before.
func (p *Pool) Take(ctx context.Context, rev *serving.Revision, pod *corev1.Pod) (name string, err error) {
	if sizeFor(rev) == 0 {
		return "", nil
	}
	var fn kubeless.Function
	if err := p.client.Get(ctx, client.ObjectKey{Namespace: rev.Namespace, Name: rev.Labels[serving.ServiceLabel]}, &fn); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	order, err := function.Order(&fn, rev)
	if err != nil {
		return "", nil // it is not the function that rev runs: its own pods are
	}
	for _, e := range pod.Spec.Containers[0].Env {
		if e.ValueFrom == nil { // the others are in the spare already
			order.Env[e.Name] = e.Value
		}
	}
	// The cache may have one that has been taken: that one says so.
	spares, err := spares(ctx, p.cached, rev.Namespace, client.MatchingLabels(newSpare(rev).Labels))
	if err != nil {
		return "", err
	}
	for _, spare := range spares {
		if !p.usable(&spare) || !kube.PodIs(&spare, corev1.PodReady) {
			continue
		}
		if taken, err := p.become(ctx, &spare, pod, order, rev.Spec.Port()); err != nil {
			return "", err
		} else if taken {
			return spare.Name, nil
		}
	}
	return "", nil
}

// become makes one spare an instance like pod. A spare that this fails with may
// have the function already: it is deleted, for nobody to have it.
func (p *Pool) become(ctx context.Context, spare, pod *corev1.Pod, order runtimes.Order, port int32) (bool, error) {
	err := p.send(ctx, spare, order, port)
	if errors.Is(err, runtimes.ErrTaken) {
		return false, nil
	}
	if err == nil {
		before := spare.DeepCopy()
		spare.Labels, spare.Annotations, spare.OwnerReferences = pod.Labels, pod.Annotations, pod.OwnerReferences
		if err = p.client.Patch(ctx, spare, client.MergeFrom(before)); err == nil {
			return true, nil
		}
	}
	if failed := p.client.Delete(ctx, spare); client.IgnoreNotFound(failed) != nil {
		return false, fmt.Errorf("delete spare %s, which failed: %w", spare.Name, failed)
	}
	ctrl.LoggerFrom(ctx).Info("a spare instance was given up", "pod", spare.Name, "why", err.Error())
	return false, nil
}

func (p *Pool) send(ctx context.Context, spare *corev1.Pod, order runtimes.Order, port int32) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return order.Send(ctx, net.JoinHostPort(spare.Status.PodIP, strconv.Itoa(int(port))), p.token(spare))
}
