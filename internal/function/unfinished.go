package function

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/kube"
)

// unfinished says how far a build is, or why it failed. It is an error, because
// there is nothing to run until it is done.
type unfinished struct {
	reason, message string
	failed          bool
	again           time.Duration // after how long to look again; 0: the pod tells
}

func (u *unfinished) Error() string { return u.message }

// judge says how far a build is; nil when its result is in the node's store.
func judge(pod *corev1.Pod) *unfinished {
	stored := kube.PodCondition(pod, kubeless.PodStored)
	switch {
	case stored.Status == corev1.ConditionTrue:
		return nil
	case stored.Status == corev1.ConditionFalse:
		return &unfinished{reason: stored.Reason, message: stored.Message, failed: true}
	case pod.Status.Phase == corev1.PodFailed:
		return &unfinished{reason: "BuildFailed", message: why(pod) + "; all that it wrote: kubectl logs " + pod.Name, failed: true}
	case pod.Status.Phase == corev1.PodSucceeded || kube.PodIs(pod, corev1.PodReady):
		return &unfinished{reason: "Building", message: "the node stores what was built"}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Waiting == nil {
			continue
		}
		switch c.State.Waiting.Reason {
		case "ContainerCreating":
			return &unfinished{reason: "Building", message: "the build's sandbox starts in the pod " + pod.Name + where(pod)}
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull":
			runtime := pod.Labels[kubeless.BuildRuntimeLabel]
			return &unfinished{reason: "RuntimeImageMissing", message: fmt.Sprintf("the node has no image that builds for the runtime %s; make it there with: redoubt function prepare %s --dependencies", runtime, runtime), failed: true}
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return &unfinished{reason: c.State.Waiting.Reason, message: "the build cannot start: " + c.State.Waiting.Message, failed: true}
		}
	}
	if c := kube.PodCondition(pod, corev1.PodScheduled); c.Status == corev1.ConditionFalse {
		return &unfinished{reason: "Building", message: "the build waits for a node: " + c.Message}
	}
	return &unfinished{reason: "Building", message: "the build runs in the pod " + pod.Name}
}

// lacking adds to how far a build is what keeps its pod from starting, where that is
// known. It has not failed: what it lacks may come.
func (r *reconciler) lacking(ctx context.Context, pod *corev1.Pod, state *unfinished) *unfinished {
	if state.failed {
		return state
	}
	why, again := r.unstarted.Of(ctx, pod, kube.Patience, time.Now())
	if why != (kube.Why{}) {
		state.message = fmt.Sprintf("the build cannot start yet: %s: %s", why.Reason, why.Message)
	}
	state.again = again
	return state
}

// where says what a build waits for that reads its source from ConfigMaps.
func where(pod *corev1.Pod) string {
	for _, v := range pod.Spec.Volumes {
		if v.Name == SourceVolume && v.Projected != nil {
			return ", which needs the ConfigMaps that spec.function names, " + v.Projected.Sources[0].ConfigMap.Name + " first"
		}
	}
	return ""
}

// why is the end of what a failed build said, on one line.
func why(pod *corev1.Pod) string {
	switch pod.Status.Reason {
	case "DeadlineExceeded":
		return fmt.Sprintf("the build did not end within %v", buildTime)
	case "Evicted":
		return "the build was stopped: " + pod.Status.Message
	}
	for _, c := range pod.Status.ContainerStatuses {
		end := c.State.Terminated
		switch {
		case end == nil:
		case end.Reason == "OOMKilled":
			return "the build needed more memory than " + buildMemory.String()
		default:
			return "the build failed: " + tail(end.Message)
		}
	}
	return "the build failed: " + pod.Status.Message
}

// tail is the end of a text, on one line.
func tail(text string) string {
	const most = 800
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > most {
		return "... " + string(line[len(line)-most:])
	}
	return string(line)
}

// overdue says that a build that came to nothing has been there for long enough.
func overdue(pod *corev1.Pod) bool {
	state := judge(pod)
	return state != nil && ended(pod) && time.Since(endOf(pod)) > retryBuild
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

func endOf(pod *corev1.Pod) time.Time {
	end := pod.CreationTimestamp.Time
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Terminated != nil {
			end = c.State.Terminated.FinishedAt.Time
		}
	}
	return end
}
