package autoscale

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	requests "k8s.io/component-helpers/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/serving/lending"
)

// lendLimit is how long a node may take to do what instances lend before room is
// made in another way: one that answers takes a second.
const lendLimit = 30 * time.Second

// lender is a frozen instance that can ask for less.
type lender struct{ pod, low *corev1.Pod }

// lendersOf are those among pods, the longest frozen first.
func lendersOf(pods []corev1.Pod) []lender {
	var all []lender
	for i := range pods {
		if low := lending.Lowered(&pods[i]); low != nil {
			all = append(all, lender{pod: &pods[i], low: low})
		}
	}
	since := func(l lender) time.Time { return kube.PodCondition(l.pod, serving.PodFrozen).LastTransitionTime.Time }
	slices.SortFunc(all, func(a, b lender) int { return since(a).Compare(since(b)) })
	return all
}

// on is what the instance asks for of the node's processors while it runs only.
func (l lender) on(node string) corev1.ResourceList {
	if l.pod.Spec.NodeName != node {
		return nil
	}
	more := requests.PodRequests(l.pod, requests.PodResourcesOptions{})[corev1.ResourceCPU]
	more.Sub(requests.PodRequests(l.low, requests.PodResourcesOptions{})[corev1.ResourceCPU])
	return corev1.ResourceList{corev1.ResourceCPU: more}
}

// lend has frozen instances ask for less for the sake of a pod.
func (s *Scaler) lend(ctx context.Context, pod *corev1.Pod, lenders []lender, now time.Time) error {
	var failed error
	for _, l := range lenders {
		s.Log.Info("lend processors", "instance", client.ObjectKeyFromObject(l.pod), "roomFor", client.ObjectKeyFromObject(pod))
		if err := lending.Lend(ctx, s.Client, l.pod); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		s.lent[l.pod.UID] = now
		s.Events.Eventf(l.pod, nil, corev1.EventTypeNormal, "LentProcessors", "Lend", "it asks for less while it is frozen, and made room on its node for a pod that waited")
	}
	return failed
}
