package revision

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

// health is what a revision's pods say of it: the two conditions that its
// readiness depends on, with Knative's reasons.
type health struct{ resources, container serving.Condition }

// healthOf reads them. Whys are what is known besides of pods that do not start.
// Proven says that the revision has been ready: one of its
// containers that ends is started again, and has failed when the kubelet waits
// longer and longer before it does so. A new one has failed at once.
func healthOf(pods []corev1.Pod, whys map[types.UID]kube.Why, scaleErr error, proven bool) health {
	h := health{
		resources: serving.Condition{Type: serving.ResourcesAvailable, Status: corev1.ConditionUnknown, Reason: "Deploying"},
		container: serving.Condition{Type: serving.ContainerHealthy, Status: corev1.ConditionUnknown, Reason: "Deploying"},
	}
	if scaleErr != nil {
		return h.failed(serving.ResourcesAvailable, "FailedCreate", scaleErr.Error())
	}
	for _, pod := range pods {
		if hasEnded(pod) {
			if !proven {
				h = h.ended(&pod)
			}
			continue // another one is made
		}
		if c := kube.PodCondition(&pod, corev1.PodScheduled); c.Status == corev1.ConditionFalse {
			h = h.unplaced(c, whys[pod.UID])
		} else if why, ok := whys[pod.UID]; ok {
			h = h.failed(serving.ResourcesAvailable, why.Reason, why.Message)
		}
		statuses := append(append([]corev1.ContainerStatus(nil), pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
		for _, c := range statuses {
			if !proven || c.State.Waiting != nil {
				h = h.with(c)
			}
		}
	}
	return h
}

// unplaced adds that a pod has no node. One that waits at a gate has not failed:
// every pod of a tenant with a quota does, for a moment.
func (h health) unplaced(c corev1.PodCondition, why kube.Why) health {
	if c.Reason != corev1.PodReasonSchedulingGated {
		return h.failed(serving.ResourcesAvailable, c.Reason, c.Message)
	}
	if h.resources.Status == corev1.ConditionUnknown {
		h.resources.Reason, h.resources.Message = c.Reason, cmp.Or(why.Message, "An instance waits for its turn in the tenant's quota.")
	}
	return h
}

// endedBy begins what is said of an instance that its node ended.
const endedBy = "An instance was ended by its node: "

// ended adds that the node has ended a pod as a whole. One that took more than it
// may has failed; the next one may do better where the node was at fault.
func (h health) ended(pod *corev1.Pod) health {
	h = h.failed(serving.ResourcesAvailable, cmp.Or(pod.Status.Reason, "Failed"), endedBy+cmp.Or(strings.TrimSpace(pod.Status.Message), "it does not say why"))
	if pod.Status.Reason != "Evicted" {
		h.resources.Status = corev1.ConditionUnknown
	}
	return h
}

// after keeps from the condition before that an instance was ended, until its next
// one is ready or says something else: the pod that said so is gone at once.
func (h health) after(before serving.Condition) health {
	if h.ok() && h.resources.Message == "" && strings.HasPrefix(before.Message, endedBy) {
		h.resources = before
	}
	return h
}

// with adds what a container's state says. A container that waits because it
// failed is worse news than one that just waits.
func (h health) with(c corev1.ContainerStatus) health {
	if w := c.State.Waiting; w != nil {
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError":
			h = h.failed(serving.ResourcesAvailable, w.Reason, w.Message)
			return h.failed(serving.ContainerHealthy, "ContainerMissing", fmt.Sprintf("Unable to fetch image %q: %s", c.Image, w.Message))
		case "CreateContainerConfigError", "CreateContainerError":
			return h.failed(serving.ResourcesAvailable, w.Reason, w.Message)
		case "RunContainerError":
			// Once it has ended of that, it says so between two attempts as well.
			if c.LastTerminationState.Terminated == nil {
				return h.failed(serving.ResourcesAvailable, w.Reason, w.Message)
			}
		}
	}
	t := c.State.Terminated
	if t == nil {
		t = c.LastTerminationState.Terminated
	}
	if t == nil || c.Ready || t.ExitCode == 0 && c.State.Running == nil && t.Reason == "Completed" && c.RestartCount == 0 {
		return h
	}
	return h.failed(serving.ContainerHealthy, fmt.Sprintf("ExitCode%d", t.ExitCode), "Container failed with: "+detail(t))
}

// detail is what a container says of its end: the end of what it wrote, as a rule,
// which does not know that memory was short.
func detail(t *corev1.ContainerStateTerminated) string {
	said := strings.TrimSpace(t.Message)
	switch {
	case said == "":
		return t.Reason
	case t.Reason == "OOMKilled":
		return t.Reason + ": " + said
	}
	return said
}

func (h health) ok() bool {
	return h.resources.Status != corev1.ConditionFalse && h.container.Status != corev1.ConditionFalse
}

func (h health) failed(kind, reason, message string) health {
	c := serving.Condition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message}
	if kind == serving.ContainerHealthy {
		h.container = c
	} else {
		h.resources = c
	}
	return h
}

func (h health) proven() health {
	h.resources = serving.Condition{Type: serving.ResourcesAvailable, Status: corev1.ConditionTrue}
	h.container = serving.Condition{Type: serving.ContainerHealthy, Status: corev1.ConditionTrue}
	return h
}

// set writes the conditions; Ready follows from the two, and says what the first
// one does that is false, or else not known.
func (h health) set(s *serving.RevisionStatus, ready int32, now metav1.Time) {
	overall := serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
	for _, part := range []serving.Condition{h.resources, h.container} {
		s.Conditions.Set(part, now)
		if overall.Status == corev1.ConditionTrue || overall.Status == corev1.ConditionUnknown && part.Status == corev1.ConditionFalse {
			overall.Status, overall.Reason, overall.Message = part.Status, part.Reason, part.Message
		}
	}
	s.Conditions.Set(overall, now)
	s.Conditions.Set(active(s, ready), now)
}

// active says whether the revision has instances for its requests.
func active(s *serving.RevisionStatus, ready int32) serving.Condition {
	c := serving.Condition{Type: serving.Active, Status: corev1.ConditionTrue, Severity: "Info"}
	switch {
	case *s.DesiredReplicas == 0:
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "NoTraffic", "The target is not receiving traffic."
	case ready == 0:
		c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "Queued", "Requests to the target are being buffered as resources are provisioned."
	}
	return c
}
