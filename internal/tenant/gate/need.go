package gate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	typed "sigs.k8s.io/controller-runtime/pkg/event"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

type event = typed.TypedUpdateEvent[*corev1.Pod]

// Hard is what the pods of a tenant may have together, in the words of
// Kubernetes' quotas; what it does not name is not bounded.
func Hard(q *redoubt.TenantQuota) corev1.ResourceList {
	hard := corev1.ResourceList{}
	if q.CPU != nil {
		hard[corev1.ResourceLimitsCPU] = *q.CPU
	}
	if q.Memory != nil {
		hard[corev1.ResourceLimitsMemory] = *q.Memory
	}
	if q.EphemeralStorage != nil {
		hard[corev1.ResourceLimitsEphemeralStorage] = *q.EphemeralStorage
	}
	if q.Pods != nil {
		hard[corev1.ResourcePods] = *resource.NewQuantity(*q.Pods, resource.DecimalSI)
	}
	return hard
}

// Need is what a pod takes of it, its class's overhead included.
func Need(pod *corev1.Pod) corev1.ResourceList {
	limits := resourcehelper.PodLimits(pod, resourcehelper.PodResourcesOptions{})
	return corev1.ResourceList{
		corev1.ResourceLimitsCPU:              limits[corev1.ResourceCPU],
		corev1.ResourceLimitsMemory:           limits[corev1.ResourceMemory],
		corev1.ResourceLimitsEphemeralStorage: limits[corev1.ResourceEphemeralStorage],
		corev1.ResourcePods:                   *resource.NewQuantity(1, resource.DecimalSI),
	}
}

func add(sum, more corev1.ResourceList) {
	for name, amount := range more {
		total := sum[name].DeepCopy()
		total.Add(amount)
		sum[name] = total
	}
}

// lacks names what there is too little of for more; empty where all fits.
func lacks(hard, used, more corev1.ResourceList) corev1.ResourceName {
	sum := used.DeepCopy()
	add(sum, more)
	for _, name := range []corev1.ResourceName{corev1.ResourcePods, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage} {
		most, bounded := hard[name]
		if total := sum[name]; bounded && total.Cmp(most) > 0 {
			return name
		}
	}
	return ""
}

// strip keeps of a pod what it needs, and its gates.
func strip(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	slim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, CreationTimestamp: pod.CreationTimestamp},
		Spec:       corev1.PodSpec{SchedulingGates: pod.Spec.SchedulingGates, Overhead: pod.Spec.Overhead, Resources: pod.Spec.Resources},
	}
	for _, c := range pod.Spec.InitContainers {
		slim.Spec.InitContainers = append(slim.Spec.InitContainers, corev1.Container{Name: c.Name, Resources: c.Resources, RestartPolicy: c.RestartPolicy})
	}
	for _, c := range pod.Spec.Containers {
		slim.Spec.Containers = append(slim.Spec.Containers, corev1.Container{Name: c.Name, Resources: c.Resources})
	}
	return slim, nil
}
