package revision

import (
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// NewPod is one instance of rev. It is built from the fields that a revision
// may set; nothing else of the user's reaches the pod.
func NewPod(rev *serving.Revision) *corev1.Pod {
	spec := &rev.Spec
	grace := spec.TimeoutSeconds
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			// Knative's clients look for pods of that name, though no
			// Deployment is there.
			GenerateName:    rev.Name + "-deployment-",
			Namespace:       rev.Namespace,
			Labels:          podLabels(rev),
			Annotations:     podAnnotations(rev),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(rev, serving.GroupVersion.WithKind("Revision"))},
		},
		Spec: corev1.PodSpec{
			RuntimeClassName:              spec.RuntimeClassName,
			Volumes:                       spec.Volumes,
			ServiceAccountName:            spec.ServiceAccountName,
			AutomountServiceAccountToken:  spec.AutomountServiceAccountToken,
			ImagePullSecrets:              spec.ImagePullSecrets,
			EnableServiceLinks:            spec.EnableServiceLinks,
			Affinity:                      spec.Affinity,
			TopologySpreadConstraints:     spec.TopologySpreadConstraints,
			NodeSelector:                  spec.NodeSelector,
			Tolerations:                   spec.Tolerations,
			SecurityContext:               spec.SecurityContext,
			ShareProcessNamespace:         spec.ShareProcessNamespace,
			PriorityClassName:             spec.PriorityClassName,
			SchedulerName:                 spec.SchedulerName,
			HostAliases:                   spec.HostAliases,
			DNSPolicy:                     spec.DNSPolicy,
			DNSConfig:                     spec.DNSConfig,
			TerminationGracePeriodSeconds: &grace,
		},
	}
	if pod.Spec.EnableServiceLinks == nil {
		pod.Spec.EnableServiceLinks = &no // as in Knative: an instance starts slower with every service of its namespace
	}
	for i := range spec.InitContainers {
		c := spec.InitContainers[i].Core(spec.Port())
		c.Name = initName(rev, i)
		c.Image, c.ImagePullPolicy = pinned(c, rev.Status.InitContainerStatuses)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	for i := range spec.Containers {
		pod.Spec.Containers = append(pod.Spec.Containers, container(rev, i))
	}
	return pod
}

// podAnnotations are the revision's, but for how it is routed: that changes
// while its pods stay.
func podAnnotations(rev *serving.Revision) map[string]string {
	annotations := maps.Clone(rev.Annotations)
	delete(annotations, serving.RoutingStateModifiedAnnotation)
	delete(annotations, serving.RoutesAnnotation)
	return annotations
}

func podLabels(rev *serving.Revision) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, rev.Labels)
	delete(labels, serving.RoutingStateLabel)
	// Nodes store what pods with these hand over, and spares are given functions:
	// an instance is neither, whatever its template says.
	maps.DeleteFunc(labels, func(label, _ string) bool {
		return strings.HasPrefix(label, kubeless.BuildLabel) || label == kubeless.SpareLabel
	})
	labels[serving.RevisionLabel] = rev.Name
	labels[serving.RevisionUIDLabel] = string(rev.UID)
	labels["app"] = rev.Name
	return labels
}

// containerName is that of the i-th container, numbered where several have none
// (Knative's defaults).
func containerName(rev *serving.Revision, i int) string {
	name := rev.Spec.Containers[i].Name
	if name == "" {
		name = serving.UserContainer
		if len(rev.Spec.Containers) > 1 {
			name += "-" + strconv.Itoa(i)
		}
	}
	return name
}

func initName(rev *serving.Revision, i int) string {
	if name := rev.Spec.InitContainers[i].Name; name != "" {
		return name
	}
	return "init-container-" + strconv.Itoa(i)
}

// container is the i-th container; the one that gets the requests is told
// where to listen and what it is (Knative's runtime contract).
func container(rev *serving.Revision, i int) corev1.Container {
	port := rev.Spec.Port()
	c := rev.Spec.Containers[i].Core(port)
	c.Name = containerName(rev, i)
	c.Image, c.ImagePullPolicy = pinned(c, rev.Status.ContainerStatuses)
	if c.TerminationMessagePolicy == "" {
		c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	}
	if &rev.Spec.Containers[i] != rev.Spec.Serving() {
		return c
	}
	if len(c.Ports) == 0 {
		c.Ports = []corev1.ContainerPort{{ContainerPort: port, Protocol: corev1.ProtocolTCP}}
	}
	c.Env = append([]corev1.EnvVar{
		{Name: "PORT", Value: strconv.Itoa(int(port))},
		{Name: "K_REVISION", Value: rev.Name},
		{Name: "K_CONFIGURATION", Value: rev.Labels[serving.ConfigurationLabel]},
		{Name: "K_SERVICE", Value: rev.Labels[serving.ServiceLabel]},
	}, c.Env...)
	if c.ReadinessProbe == nil && c.StartupProbe == nil {
		c.StartupProbe = listens(port, rev.ProgressDeadline())
	}
	return c
}

// listens keeps an instance from being ready before it takes connections, as
// Knative's default probe does: the kubelet calls a container without a probe
// ready as soon as it runs, and one that crashes at once would take the place
// of a revision that serves. It asks until the first success only, so that
// an instance is not woken by it later. The gateway asks for itself.
//
// The kubelet restarts an instance that never listens, but only when the
// controller has given up its revision: what that says is the reason, not the
// exit code of a container that the kubelet killed.
func listens(port int32, limit time.Duration) *corev1.Probe {
	limit += time.Minute
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}},
		PeriodSeconds:    1,
		FailureThreshold: int32(min(max(limit/time.Second, 1), math.MaxInt32)),
	}
}
