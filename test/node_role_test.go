package test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/test/platform"
)

// nodeRoleBack waits until the node role is ready again.
func nodeRoleBack(t *testing.T) {
	t.Helper()
	platform.Eventually(t, "the node role is back", func() error {
		_, err := shared.Try(t, "", "status")
		return err
	})
}

// TestWallsHoldWithoutTheNodeRole knocks at a pod of another tenant, without
// pause, while the node role is killed and comes back, and at one of its own,
// which is open all the time. What is said to the role afterwards is in force.
func TestWallsHoldWithoutTheNodeRole(t *testing.T) {
	const own, rival = "tenant-held", "tenant-held-rival"
	for _, name := range []string{own, rival} {
		newTenant(t, name, redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"})
	}
	answering(t, own, "knocks", "runc")
	answering(t, own, "friend", "runc")
	answering(t, rival, "rival", "runc")
	knocks, friend, other := answers(t, own, "knocks"), answers(t, own, "friend"), answers(t, rival, "rival")
	script := knock + fmt.Sprintf("until [ -e /tmp/enough ]; do knock %s:8080; knock %s:8080; done", other.Status.PodIP, friend.Status.PodIP)
	knocked := make(chan string, 1)
	go func() {
		out, err := shared.Command(t.Context(), "kubectl", "-n", own, "exec", knocks.Name, "--", "/bin/sh", "-c", script).Output()
		knocked <- fmt.Sprintf("%s%v", out, err)
	}()
	for range 2 {
		killRole(t, "node")
		nodeRoleBack(t)
	}
	answering(t, own, "late", "runc") // pods start again, and are known
	late := answers(t, own, "late")
	ask(t, knocks, "touch /tmp/enough")
	out := <-knocked
	closed, open := strings.Count(out, other.Status.PodIP+":8080 closed"), strings.Count(out, friend.Status.PodIP+":8080 open")
	if closed == 0 || closed != open || strings.Count(out, "\n") != closed+open || !strings.HasSuffix(out, "<nil>") {
		t.Errorf("the other tenant's pod was closed %d times, the own one open %d times, of\n%s", closed, open, out)
	}
	if got, err := reached(t, late, []string{other.Status.PodIP + ":8080", friend.Status.PodIP + ":8080"}); err != nil || len(got) != 1 {
		t.Errorf("a pod that came later reaches %s (%v)", got, err)
	}
}

// TestNoContainerWithoutTheNodeRole kills the node role while pods are made that
// the API server lets in: the one below its tenant's floor has no container at
// any time, the other one has as soon as somebody looks.
func TestNoContainerWithoutTheNodeRole(t *testing.T) {
	const name = "tenant-unguarded"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel"})
	blind(t, name)
	var slipped []*corev1.Pod
	slip := func() error {
		pod, err := shared.Cluster.CoreV1().Pods(name).Create(t.Context(), plain(), metav1.CreateOptions{})
		if err == nil {
			slipped = append(slipped, pod)
		}
		return err
	}
	platform.Eventually(t, "the API server is blind", slip)
	home := namespace(t)
	var allowed []*corev1.Pod
	for range 2 { // the pauses before it is started again grow
		killRole(t, "node")
		if err := slip(); err != nil {
			t.Fatal(err)
		}
		allowed = append(allowed, create(t, home, plain()))
		nodeRoleBack(t)
	}
	for _, pod := range allowed {
		running(t, pod)
	}
	for _, pod := range slipped {
		event(t, pod, "BelowFloor")
		if now := look(t, name, pod.Name); started(now) {
			t.Errorf("a container below the floor has run: %+v", now.Status.ContainerStatuses)
		}
	}
}

// TestSlowEndsKeepNobodyWaiting kills the node role while a pod has minutes for
// its end, which keeps containerd from taking the role on again: another pod
// starts all the same.
func TestSlowEndsKeepNobodyWaiting(t *testing.T) {
	ns := namespace(t)
	slow := shellPod(shell(t), "runc")
	slow.Spec.TerminationGracePeriodSeconds = new(int64(600))
	slow.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "trap 'touch /tmp/asked' TERM; while :; do sleep 1; done"}
	slow = running(t, create(t, ns, slow))
	if err := shared.Cluster.CoreV1().Pods(ns).Delete(t.Context(), slow.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if now := look(t, ns, slow.Name); now.DeletionTimestamp == nil || *now.DeletionGracePeriodSeconds != 600 || !ready(t, now) {
		t.Fatalf("the control: the pod does not end slowly: %+v", now.ObjectMeta)
	}
	platform.Eventually(t, "containerd waits for the pod's end", func() error {
		_, err := shared.Try(t, "", "kubectl", "-n", ns, "exec", slow.Name, "--", "/bin/sh", "-c", "[ -e /tmp/asked ]")
		return err
	})
	killRole(t, "node")
	running(t, create(t, ns, plain()))
	platform.Eventually(t, "the slow pod is gone", func() error {
		_, err := shared.Cluster.CoreV1().Pods(ns).Get(t.Context(), slow.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there (%v)", err)
		}
		return nil
	})
}
