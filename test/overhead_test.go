package test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/bench/overhead"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cri"
	"redoubt.dev/redoubt/internal/sandbox"
)

// What a class declares covers what one idle pod of it takes: charged to its
// control group, or had by its processes without a file that could be dropped.
func TestDeclaredOverheadCoversAPod(t *testing.T) {
	groups, err := cgroup.New(shared.Inst.ID())
	if err != nil {
		t.Fatal(err)
	}
	classes, err := sandbox.Offered(t.Context(), shared.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	ns := namespace(t)
	for _, c := range classes {
		name := c.Name
		class, err := shared.Cluster.NodeV1().RuntimeClasses().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pod := running(t, create(t, ns, idle(name)))
		w, err := overhead.Weigh(groups, fmt.Sprintf("kubepods/besteffort/pod%s", pod.UID), sandboxOf(t, pod))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		declared := class.Overhead.PodFixed.Memory().Value()
		t.Logf("%s declares %d bytes; an idle pod: %+v", name, declared, w)
		if w.Own > declared || w.Charged > declared {
			t.Errorf("%s declares %d bytes, and an idle pod takes %d for itself, %d of them charged", name, declared, w.Own, w.Charged)
		}
	}
}

// sandboxOf is the container runtime's id of a pod.
func sandboxOf(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	found := sandboxes(t, of(pod))
	if len(found) != 1 {
		t.Fatalf("pod %s has the sandboxes %v, want one", pod.Name, found)
	}
	return found[0].Id
}

// of selects a pod's sandboxes.
func of(pod *corev1.Pod) *runtime.PodSandboxFilter {
	return &runtime.PodSandboxFilter{LabelSelector: map[string]string{"io.kubernetes.pod.uid": string(pod.UID)}}
}

// sandboxes are those that the container runtime has.
func sandboxes(t *testing.T, filter *runtime.PodSandboxFilter) []*runtime.PodSandbox {
	t.Helper()
	client, conn, err := cri.Connect(shared.Inst.ContainerdSocket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	list, err := client.ListPodSandbox(t.Context(), &runtime.ListPodSandboxRequest{Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}
