package test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/test/platform"
)

// blind makes the API server let any class into a namespace.
func blind(t *testing.T, namespace string) {
	t.Helper()
	bindings := shared.Cluster.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	patch := func(ctx context.Context, resources string) {
		_, err := bindings.Patch(ctx, "tenant-class.redoubt.dev", types.MergePatchType, []byte(`{"spec":{"matchResources":`+resources+`}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { patch(context.WithoutCancel(t.Context()), `null`) })
	patch(t.Context(), fmt.Sprintf(`{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":[%q]}]}}`, namespace))
}

// ready says whether the container runtime runs a sandbox of the pod.
func ready(t *testing.T, pod *corev1.Pod) bool {
	t.Helper()
	return slices.ContainsFunc(sandboxes(t, of(pod)), func(s *runtime.PodSandbox) bool {
		return s.State == runtime.PodSandboxState_SANDBOX_READY
	})
}

// started says whether a container of the pod has ever run.
func started(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Running != nil || ran(c.State.Terminated) || ran(c.LastTerminationState.Terminated) || c.RestartCount > 0 {
			return true
		}
	}
	return false
}

// ran says that what ended had begun: a container whose pod is gone before it
// could start has an end, too.
func ran(end *corev1.ContainerStateTerminated) bool { return end != nil && end.StartedAt.Unix() > 0 }

// TestNodeRefusesBelowFloor slips pods past a blinded API server. One at the
// floor runs, one below it does not, and the same pod runs where there is no
// floor.
func TestNodeRefusesBelowFloor(t *testing.T) {
	const name = "tenant-slipped"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel"})
	mustRefuse(t, name, plain())
	blind(t, name)
	var slipped *corev1.Pod
	platform.Eventually(t, "the API server is blind", func() (err error) {
		slipped, err = shared.Cluster.CoreV1().Pods(name).Create(t.Context(), plain(), metav1.CreateOptions{})
		return err
	})
	why := event(t, slipped, "BelowFloor")
	for _, part := range []string{"Refused", `handler "runc" isolates as "process"`, `floor "kernel"`, `tenant "` + name + `"`} {
		if !strings.Contains(why, part) {
			t.Errorf("the event does not say %q: %s", part, why)
		}
	}
	running(t, create(t, name, idle("gvisor")))
	running(t, create(t, namespace(t), plain()))
	now, err := shared.Cluster.CoreV1().Pods(name).Get(t.Context(), slipped.Name, metav1.GetOptions{})
	if err != nil || now.Status.Phase != corev1.PodPending || started(now) {
		t.Errorf("a pod below the floor is %s, with containers %+v (%v)", now.Status.Phase, now.Status.ContainerStatuses, err)
	}
}

func mustRefuse(t *testing.T, ns string, pod *corev1.Pod) {
	t.Helper()
	if _, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err == nil {
		t.Fatal("the API server that sees lets a pod below the floor in")
	}
}

// TestRaisedFloorStopsPods raises a floor under a pod that runs.
func TestRaisedFloorStopsPods(t *testing.T) {
	const name = "tenant-stopped"
	newTenant(t, name, redoubt.TenantSpec{Floor: "process"})
	low := running(t, create(t, name, plain()))
	at := plain()
	*at.Spec.RuntimeClassName = "gvisor"
	high := running(t, create(t, name, at))
	shared.Redoubt(t, "tenant", "update", name, "--floor=kernel")
	platform.Eventually(t, "the pod below the floor is stopped", func() error {
		if ready(t, low) {
			return fmt.Errorf("its sandbox runs")
		}
		return nil
	})
	if why := event(t, low, "BelowFloor"); !strings.Contains(why, `below the floor "kernel"`) {
		t.Errorf("the event says %q", why)
	}
	if now := running(t, high); now.Status.ContainerStatuses[0].RestartCount > 0 {
		t.Error("the pod at the floor was started anew")
	}
}
