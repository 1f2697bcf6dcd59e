package watch

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
)

// meta is what every kind keeps: a cluster can have thousands of each, and
// most of an object is of no use here.
func meta(o *metav1.ObjectMeta, keep ...string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{
		Namespace: o.Namespace, Name: o.Name, UID: o.UID,
		ResourceVersion: o.ResourceVersion, DeletionTimestamp: o.DeletionTimestamp,
	}
	for _, label := range keep {
		if value, ok := o.Labels[label]; ok {
			if m.Labels == nil {
				m.Labels = map[string]string{}
			}
			m.Labels[label] = value
		}
	}
	return m
}

func stripNamespace(o any) (any, error) {
	n, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	stripped := &metav1.PartialObjectMetadata{TypeMeta: n.TypeMeta, ObjectMeta: meta(&n.ObjectMeta, redoubt.TenantLabel)}
	for _, key := range []string{
		redoubt.ResolvedAnnotation, redoubt.RequestsAnnotation, redoubt.ColdStartsAnnotation, redoubt.CallsToAnnotation, redoubt.CallsFromAnnotation,
	} {
		if value, ok := n.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&stripped.ObjectMeta, key, value)
		}
	}
	return stripped, nil
}

func stripPod(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	stripped := &corev1.Pod{ObjectMeta: meta(&p.ObjectMeta, serving.RevisionLabel, serving.RevisionUIDLabel)}
	stripped.Status.PodIP, stripped.Status.HostIP, stripped.Status.Phase = p.Status.PodIP, p.Status.HostIP, p.Status.Phase
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			stripped.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return stripped, nil
}

func stripRevision(o any) (any, error) {
	r, ok := o.(*serving.Revision)
	if !ok {
		return o, nil
	}
	stripped := &serving.Revision{ObjectMeta: meta(&r.ObjectMeta), Spec: serving.RevisionSpec{
		ContainerConcurrency:        r.Spec.ContainerConcurrency,
		TimeoutSeconds:              r.Spec.TimeoutSeconds,
		ResponseStartTimeoutSeconds: r.Spec.ResponseStartTimeoutSeconds,
		IdleTimeoutSeconds:          r.Spec.IdleTimeoutSeconds,
	}}
	for _, c := range r.Spec.Containers {
		stripped.Spec.Containers = append(stripped.Spec.Containers, serving.Container{
			Name: c.Name, Ports: c.Ports, LivenessProbe: c.LivenessProbe, ReadinessProbe: c.ReadinessProbe, StartupProbe: c.StartupProbe,
		})
	}
	if value, ok := r.Annotations[serving.FreezeAnnotation]; ok {
		stripped.Annotations = map[string]string{serving.FreezeAnnotation: value}
	}
	ready := r.Status.Conditions.Get(serving.Ready)
	stripped.Status.Conditions = serving.Conditions{ready}
	return stripped, nil
}

func stripRoute(o any) (any, error) {
	r, ok := o.(*serving.Route)
	if !ok {
		return o, nil
	}
	stripped := &serving.Route{ObjectMeta: meta(&r.ObjectMeta, serving.VisibilityLabel, kubeless.FunctionLabel, redoubt.AsyncLabel)}
	stripped.Status.Conditions = serving.Conditions{r.Status.Conditions.Get(serving.Ready)}
	stripped.Status.Traffic = r.Status.Traffic
	return stripped, nil
}

func stripMapping(o any) (any, error) {
	m, ok := o.(*v1beta1.DomainMapping)
	if !ok {
		return o, nil
	}
	stripped := &v1beta1.DomainMapping{ObjectMeta: meta(&m.ObjectMeta), Spec: m.Spec}
	stripped.CreationTimestamp = m.CreationTimestamp
	stripped.Status.Conditions = serving.Conditions{m.Status.Conditions.Get(v1beta1.DomainClaimed)}
	return stripped, nil
}

func stripTrigger(o any) (any, error) {
	t, ok := o.(*kubeless.HTTPTrigger)
	if !ok {
		return o, nil
	}
	stripped := &kubeless.HTTPTrigger{ObjectMeta: meta(&t.ObjectMeta), Spec: t.Spec}
	stripped.CreationTimestamp = t.CreationTimestamp
	stripped.Status.Conditions = serving.Conditions{t.Status.Conditions.Get(kubeless.HostClaimed)}
	return stripped, nil
}
