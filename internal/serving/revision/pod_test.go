package revision

import (
	"testing"
	"time"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// A container that says nothing of its readiness is ready when it listens, and
// is given longer for it than the revision has; one with a probe keeps that alone.
func TestListeningIsTheDefaultProbe(t *testing.T) {
	rev := &serving.Revision{}
	rev.Annotations = map[string]string{serving.ProgressDeadlineAnnotation: "90s"}
	rev.Spec.Containers = []serving.Container{{Ports: []serving.ContainerPort{{ContainerPort: 9000}}}}
	probe := container(rev, 0).StartupProbe
	if probe == nil || probe.TCPSocket == nil || probe.TCPSocket.Port.IntValue() != 9000 {
		t.Fatalf("startup probe: %+v, want a connection to port 9000", probe)
	}
	if got := time.Duration(probe.PeriodSeconds*probe.FailureThreshold) * time.Second; got != 90*time.Second+time.Minute {
		t.Errorf("the container is given %v, want the 90s and a minute", got)
	}
	rev.Spec.Containers[0].ReadinessProbe = &serving.Probe{HTTPGet: &serving.HTTPGetAction{Path: "/ready"}}
	if c := container(rev, 0); c.StartupProbe != nil || c.ReadinessProbe == nil {
		t.Errorf("a container with a readiness probe has %+v, %+v", c.StartupProbe, c.ReadinessProbe)
	}
}

// The labels of a service's template make no pod one that the node stores
// something of, or that is given functions.
func TestInstancesAreNoBuildsAndNoSpares(t *testing.T) {
	rev := &serving.Revision{}
	rev.Labels = map[string]string{kubeless.BuildLabel: "a", kubeless.BuildRuntimeLabel: "b", kubeless.SpareLabel: "c", "color": "blue"}
	pod := NewPod(rev)
	for label := range rev.Labels {
		if _, has := pod.Labels[label]; has != (label == "color") {
			t.Errorf("the labels are %v: %s", pod.Labels, label)
		}
	}
}
