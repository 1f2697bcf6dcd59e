package measure

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/internal/probe"
)

// privileged is the path of a field that is tried anyway.
const privileged = "containers.securityContext.privileged"

// ask is a field of a pod, by its path in the specification.
type ask struct {
	field string
	set   func(*corev1.PodSpec)
	// twice makes the attempt a second time, and takes the better answer.
	twice bool
}

// asks are tried each in a pod of its own: a class that cannot do what one asks
// for starts no pod. The probe knows them by the same names.
var asks = []ask{
	{field: "hostNetwork", set: func(s *corev1.PodSpec) { s.HostNetwork = true }},
	{field: "hostPID", set: func(s *corev1.PodSpec) { s.HostPID = true }},
	{field: "hostIPC", set: func(s *corev1.PodSpec) { s.HostIPC = true }, twice: true},
	{field: "hostUsers", set: func(s *corev1.PodSpec) { s.HostUsers = new(bool) }},
	{field: "volumes.hostPath", set: func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/etc"}}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "host", MountPath: probe.HostFolder, ReadOnly: true}}
	}},
}

// ask answers whether a pod has what the field asks for.
func (p Probe) ask(ctx context.Context, a ask, pod *corev1.Pod) (string, error) {
	a.set(&pod.Spec)
	pod.Spec.Containers[0].Args = []string{a.field}
	report, refused, err := p.run(ctx, pod, a.field)
	if err != nil {
		return "", fmt.Errorf("%s: %w", a.field, err)
	}
	if refused != "" {
		return refused, nil
	}
	if answer := report.Can[a.field]; answer == probe.Works || !a.twice {
		return answer, nil
	}
	a.twice = false
	return p.ask(ctx, a, pod)
}
