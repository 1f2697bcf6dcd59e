package function

import (
	"cmp"
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
	// grace is how much longer than the function's own time the serving layer
	// waits, in seconds: that a call ran past it is for the runtime to say.
	grace = 5
	// user runs every function: nobody on the host, and not root inside.
	user = 1000
)

// template is the revision that runs fn, with what was built for it.
func template(fn *kubeless.Function, lang runtimes.Runtime, code code, made built) serving.RevisionTemplate {
	custom, own := fn.Spec.Deployment.Spec.Template, container(fn)
	no := false
	// No probe is declared: a runtime listens once it has loaded the function,
	// and an instance that the kubelet probes could not be frozen.
	t := serving.RevisionTemplate{}
	t.Labels, t.Annotations = custom.Labels, withPool(fn, Scale(fn))
	t.Spec.TimeoutSeconds = min(timeout(fn)+grace, maxTimeout)
	t.Spec.ResponseStartTimeoutSeconds = t.Spec.TimeoutSeconds
	t.Spec.PodFields = serving.PodFields{
		RuntimeClassName:             fn.Spec.RuntimeClassName,
		ServiceAccountName:           custom.Spec.ServiceAccountName,
		AutomountServiceAccountToken: &no,
		NodeSelector:                 made.on(custom.Spec.NodeSelector),
		SecurityContext:              unprivileged(),
		ImagePullSecrets:             custom.Spec.ImagePullSecrets,
		Volumes:                      volumes(custom.Spec.Volumes, code),
		Containers: []serving.Container{{
			Image:           cmp.Or(made.image, own.Image, lang.Image),
			ImagePullPolicy: cmp.Or(own.ImagePullPolicy, corev1.PullIfNotPresent), // a tag on localhost can be pulled from nowhere
			Env:             append(Contract(fn), own.Env...),
			EnvFrom:         own.EnvFrom,
			Resources:       own.Resources,
			Ports:           []serving.ContainerPort{{ContainerPort: port(fn)}},
			VolumeMounts:    append(code.mounts(), own.VolumeMounts...),
			SecurityContext: confined(),
		}},
	}
	return t
}

// container is what fn says of its container.
func container(fn *kubeless.Function) kubeless.Container {
	for _, c := range fn.Spec.Deployment.Spec.Template.Spec.Containers {
		return c
	}
	return kubeless.Container{}
}

// unprivileged and confined are how functions run, and what builds them.
func unprivileged() *corev1.PodSecurityContext {
	id, yes := int64(user), true
	return &corev1.PodSecurityContext{
		RunAsUser: &id, RunAsGroup: &id, FSGroup: &id, RunAsNonRoot: &yes,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func confined() *corev1.SecurityContext {
	no := false
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// SourceVolume is the name of the volume with the function's source, mounted where it is.
const SourceVolume = "source"

// volumes are those of a pod that runs the source. One in parts is in its image.
func (c code) volumes() []corev1.Volume {
	if c.parts != nil {
		return nil
	}
	executable := int32(0o555) // a program is run as it is
	return []corev1.Volume{{
		Name: SourceVolume,
		VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: c.name}, Items: c.items, DefaultMode: &executable,
		}},
	}}
}

func (c code) mounts() []corev1.VolumeMount {
	if c.parts != nil {
		return nil
	}
	return []corev1.VolumeMount{{Name: SourceVolume, MountPath: runtimes.SourceFolder, ReadOnly: true}}
}

func volumes(own []kubeless.Volume, code code) []corev1.Volume {
	all := code.volumes()
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
