package kube

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// PodCondition is what a pod's status says of a condition; one that is not there
// has no status.
func PodCondition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// PodIs says that a condition of a pod is true.
func PodIs(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	return PodCondition(pod, kind).Status == corev1.ConditionTrue
}

// PodMetrics is the kind of what the metrics API says of a pod; the kind of a
// list of them has List behind it.
var PodMetrics = schema.GroupVersionKind{Group: "metrics.k8s.io", Version: "v1beta1", Kind: "PodMetrics"}

// Usage is what a pod's containers take of a resource together, by the metrics
// API. What cannot be read is none.
func Usage(metrics *unstructured.Unstructured, of corev1.ResourceName) (sum resource.Quantity) {
	containers, _, _ := unstructured.NestedSlice(metrics.Object, "containers")
	for _, container := range containers {
		fields, _ := container.(map[string]any)
		text, _, _ := unstructured.NestedString(fields, "usage", string(of))
		if q, err := resource.ParseQuantity(text); err == nil {
			sum.Add(q)
		}
	}
	return sum
}
