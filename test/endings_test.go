package test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/test/platform"
)

// Containers end, and are started again, in every class as Kubernetes says.
func TestEndingsInEveryClass(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		submit(t, ns, class, "endings")
		for _, ending := range []struct {
			name string
			test func(t *testing.T, ns string)
		}{{"grace", grace}, {"exit", exits}, {"memory", outOfMemory}, {"restart", restarts}, {"shared processes", sharing}} {
			t.Run(ending.name, func(t *testing.T) { ending.test(t, ns) })
		}
	})
}

// look reads a pod that is there.
func look(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	pod, err := shared.Cluster.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func containerOf(pod *corev1.Pod, name string) corev1.ContainerStatus {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == name {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

// ended waits for the end of a pod that is not started again.
func ended(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	platform.Eventually(t, "the end of pod "+name, func() error {
		pod = look(t, ns, name)
		if pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("it is %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return nil
	})
	return pod
}

// grace deletes a pod and reads how its container ended from the last state
// that the API server knew.
func grace(t *testing.T, ns string) {
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "pod/graceful")
	watch, err := shared.Cluster.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=graceful"})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	shared.Kubectl(t, "-n", ns, "delete", "pod", "graceful")
	for event := range watch.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			t.Fatalf("the watch ended: %v", event.Object)
		}
		if end := containerOf(pod, "main").State.Terminated; end != nil {
			if end.ExitCode != 3 {
				t.Errorf("exit code %d, want 3: both hooks, then SIGTERM", end.ExitCode)
			}
			return
		}
	}
}

func exits(t *testing.T, ns string) {
	pod := ended(t, ns, "ends")
	for name, want := range map[string]struct {
		code            int32
		reason, message string
	}{
		"good": {0, "Completed", "last words"},
		"bad":  {5, "Error", "it broke\n"},
	} {
		end := containerOf(pod, name).State.Terminated
		if end.ExitCode != want.code || end.Reason != want.reason || end.Message != want.message {
			t.Errorf("container %s ended with %d, %s, %q, want %+v", name, end.ExitCode, end.Reason, end.Message, want)
		}
	}
}

func outOfMemory(t *testing.T, ns string) {
	end := containerOf(ended(t, ns, "hungry"), "main").State.Terminated
	if end.Reason != "OOMKilled" || end.ExitCode != 137 {
		t.Errorf("ended with %d, %s, want 137, OOMKilled", end.ExitCode, end.Reason)
	}
}

func restarts(t *testing.T, ns string) {
	var pod *corev1.Pod
	platform.Eventually(t, "every container is started again that must be", func() error {
		pod = look(t, ns, "again")
		for name, want := range map[string]int32{"crashes": 1, "unwell": 1, "late": 0} {
			if c := containerOf(pod, name); c.RestartCount != want || !c.Ready {
				return fmt.Errorf("%s: %+v", name, c)
			}
		}
		return nil
	})
	if end := containerOf(pod, "crashes").LastTerminationState.Terminated; end == nil || end.ExitCode != 9 {
		t.Errorf("the crash left %+v, want exit code 9", end)
	}
	event(t, pod, "Unhealthy")
}

func sharing(t *testing.T, ns string) {
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "pod/sharing")
	askAll(t, look(t, ns, "sharing"), "main", []question{
		{"the other container's process", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done | grep -c 'sleep 360[12]'", "2"},
		{"the first process is nobody's", "tr '\\0' ' ' < /proc/1/cmdline | grep -c sleep", "0"},
	})
}
