// Package lending lends processors. What a frozen instance asks for of them is
// taken from its node all the same; where a pod finds no node, the autoscaler
// has frozen instances resized, without a restart, so that they ask for a tenth
// of it. What they asked for stands in an annotation meanwhile. The controller
// here has an instance that goes on ask for all of it again.
//
// The thaw waits for none of that. Where the node has no room any more, or a
// quota, the instance serves with the weight of the tenth against others, until
// there is some.
package lending

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

// keeps is the part of what it asks for that an instance keeps, one in keeps, so
// that it is not starved when it goes on beside whom it lent to.
const keeps = 10

// Lowered is the pod as it would ask for less of the processors while it is
// frozen; nil where it cannot: one that runs, that has lent already, that asks
// for none, or whose requests are its limits, by which the kubelet guarantees
// them (such a pod cannot be resized to another class of service).
func Lowered(pod *corev1.Pod) *corev1.Pod {
	_, lent := pod.Annotations[serving.LentAnnotation]
	if lent || pod.DeletionTimestamp != nil || pod.Status.QOSClass != corev1.PodQOSBurstable || !kube.PodIs(pod, serving.PodFrozen) {
		return nil
	}
	low := map[string]resource.Quantity{}
	for name, asks := range requests(pod) {
		if less := max(asks.MilliValue()/keeps, 1); less < asks.MilliValue() {
			low[name] = *resource.NewMilliQuantity(less, resource.DecimalSI)
		}
	}
	if len(low) == 0 {
		return nil
	}
	return asking(pod, low)
}

// Lent says whether the node has what a pod lent.
func Lent(pod *corev1.Pod) bool {
	if _, lent := pod.Annotations[serving.LentAnnotation]; !lent {
		return false
	}
	asks := requests(pod)
	for _, c := range pod.Status.ContainerStatuses {
		if want, ok := asks[c.Name]; ok && (c.Resources == nil || !c.Resources.Requests.Cpu().Equal(want)) {
			return false
		}
	}
	return true
}

// Asks is what the pod's containers ask for of the processors, together, while
// it lends nothing; in thousandths of one.
func Asks(pod *corev1.Pod) (millis int64) {
	if noted, lent := pod.Annotations[serving.LentAnnotation]; lent {
		pod = asking(pod, read(noted))
	}
	for _, asks := range requests(pod) {
		millis += asks.MilliValue()
	}
	return millis
}

// Lend has a pod, for which there is a Lowered one, ask for less. What it asked
// for is written down first. A pod that was written to in between is left alone:
// it may have begun to ask for all again.
func Lend(ctx context.Context, c client.Client, pod *corev1.Pod) error {
	low := Lowered(pod)
	asked, err := json.Marshal(requests(pod))
	if err != nil {
		return err
	}
	noted := pod.DeepCopy()
	if noted.Annotations == nil {
		noted.Annotations = map[string]string{}
	}
	noted.Annotations[serving.LentAnnotation] = string(asked)
	if err := c.Patch(ctx, noted, client.MergeFromWithOptions(pod, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("write down what instance %s asks for: %w", pod.Name, err)
	}
	return resize(ctx, c, noted, requests(low))
}

// resize has the pod's containers ask for that much, each by its name.
func resize(ctx context.Context, c client.Client, pod *corev1.Pod, asks map[string]resource.Quantity) error {
	next := asking(pod, asks)
	if err := c.SubResource("resize").Patch(ctx, next, client.StrategicMergeFrom(pod, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("resize instance %s: %w", pod.Name, err)
	}
	*pod = *next
	return nil
}

// requests are what the pod's containers ask for of the processors, by name.
func requests(pod *corev1.Pod) map[string]resource.Quantity {
	all := map[string]resource.Quantity{}
	for i := range pod.Spec.Containers {
		if asks, ok := pod.Spec.Containers[i].Resources.Requests[corev1.ResourceCPU]; ok {
			all[pod.Spec.Containers[i].Name] = asks
		}
	}
	return all
}

// asking is the pod with other requests of those of its containers that have some.
func asking(pod *corev1.Pod, requests map[string]resource.Quantity) *corev1.Pod {
	pod = pod.DeepCopy()
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if want, ok := requests[c.Name]; ok && !c.Resources.Requests.Cpu().IsZero() {
			c.Resources.Requests[corev1.ResourceCPU] = want
		}
	}
	return pod
}
