package function

import (
	"cmp"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/runtimes"
)

const (
	// defaultTimeout is Kubeless's, in seconds.
	defaultTimeout = 180
	// maxTimeout is the longest request of the serving layer.
	maxTimeout = 600
	// user runs every function: nobody on the host, and not root inside.
	user = 1000
)

// template is the revision that runs fn.
func template(fn *kubeless.Function, lang runtimes.Runtime, code code) serving.RevisionTemplate {
	custom := fn.Spec.Deployment.Spec.Template
	var own kubeless.Container
	if len(custom.Spec.Containers) > 0 {
		own = custom.Spec.Containers[0]
	}
	image := own.Image
	if image == "" {
		image = lang.Image
	}
	id, yes, no := int64(user), true, false
	// No probe is declared: a runtime listens once it has loaded the function,
	// and an instance that the kubelet probes could not be frozen.
	t := serving.RevisionTemplate{}
	t.Labels, t.Annotations = custom.Labels, scaled(custom.Annotations, fn.Spec.HorizontalPodAutoscaler.Spec)
	t.Spec.TimeoutSeconds = timeout(fn)
	t.Spec.ResponseStartTimeoutSeconds = t.Spec.TimeoutSeconds
	t.Spec.PodFields = serving.PodFields{
		RuntimeClassName:             fn.Spec.RuntimeClassName,
		ServiceAccountName:           custom.Spec.ServiceAccountName,
		AutomountServiceAccountToken: &no,
		NodeSelector:                 custom.Spec.NodeSelector,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser: &id, RunAsGroup: &id, FSGroup: &id, RunAsNonRoot: &yes,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		ImagePullSecrets: custom.Spec.ImagePullSecrets,
		Volumes:          volumes(custom.Spec.Volumes, code),
		Containers: []serving.Container{{
			Image:           image,
			ImagePullPolicy: cmp.Or(own.ImagePullPolicy, corev1.PullIfNotPresent), // a tag on localhost can be pulled from nowhere
			Env:             append(Contract(fn), own.Env...),
			EnvFrom:         own.EnvFrom,
			Resources:       own.Resources,
			Ports:           []serving.ContainerPort{{ContainerPort: port(fn)}},
			VolumeMounts:    append([]corev1.VolumeMount{{Name: sourceVolume, MountPath: "/kubeless", ReadOnly: true}}, own.VolumeMounts...),
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no,
				Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
	return t
}

// scaled are the template's annotations, with what the autoscaler in the spec
// says besides.
func scaled(annotations map[string]string, a kubeless.AutoscalerSpec) map[string]string {
	if a.MinReplicas == nil && a.MaxReplicas == 0 {
		return annotations
	}
	all := map[string]string{}
	if a.MinReplicas != nil {
		all[serving.MinScaleAnnotation] = strconv.Itoa(int(*a.MinReplicas))
	}
	if a.MaxReplicas > 0 {
		all[serving.MaxScaleAnnotation] = strconv.Itoa(int(a.MaxReplicas))
	}
	maps.Copy(all, annotations)
	return all
}

// sourceVolume is the volume with the function's source.
const sourceVolume = "source"

func volumes(own []kubeless.Volume, code code) []corev1.Volume {
	executable := int32(0o555) // a program is run as it is
	all := []corev1.Volume{{
		Name: sourceVolume,
		VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: code.name}, Items: code.items, DefaultMode: &executable,
		}},
	}}
	for _, v := range own {
		all = append(all, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{Secret: v.Secret, ConfigMap: v.ConfigMap, EmptyDir: v.EmptyDir}})
	}
	return all
}

// port is where the function listens: where its service's port leads.
func port(fn *kubeless.Function) int32 {
	for _, p := range fn.Spec.Service.Ports {
		return cmp.Or(int32(p.TargetPort.IntValue()), p.Port)
	}
	return serving.DefaultPort
}

// Contract is what a runtime learns about its function, as variables of its
// environment (Kubeless's developer guide).
func Contract(fn *kubeless.Function) []corev1.EnvVar {
	file, name, _ := strings.Cut(fn.Spec.Handler, ".")
	memory := ""
	for _, c := range fn.Spec.Deployment.Spec.Template.Spec.Containers {
		if limit, ok := c.Resources.Limits[corev1.ResourceMemory]; ok {
			memory = limit.String()
		}
	}
	return []corev1.EnvVar{
		{Name: "MOD_NAME", Value: file},
		{Name: "FUNC_HANDLER", Value: name},
		{Name: "FUNC_NAME", Value: fn.Name},
		{Name: "FUNC_TIMEOUT", Value: strconv.FormatInt(timeout(fn), 10)},
		{Name: "FUNC_RUNTIME", Value: fn.Spec.Runtime},
		{Name: "FUNC_MEMORY_LIMIT", Value: memory},
		{Name: "FUNC_PORT", Value: strconv.Itoa(int(port(fn)))},
	}
}

func timeout(fn *kubeless.Function) int64 {
	seconds, err := strconv.ParseInt(fn.Spec.Timeout, 10, 64)
	if err != nil || seconds == 0 {
		return defaultTimeout
	}
	return min(seconds, maxTimeout)
}
