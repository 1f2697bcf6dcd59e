package test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/test/platform"
	"redoubt.dev/redoubt/test/residue"
)

// Pods that came and went leave nothing on the node. The control: while they
// run, there is more of everything that is counted. It comes before tests whose
// pods take minutes to end.
func TestPodsLeaveNothing(t *testing.T) {
	const batch = 6
	for _, class := range classes(t) {
		t.Run(class, func(t *testing.T) {
			ns := namespace(t)
			// Some things come with the first pod, for all: a mount of gVisor's,
			// and the rules that lead to those of single ports.
			running(t, create(t, ns, visible(class, 0)))
			empty(t, ns)
			before := count(t)
			var pods []*corev1.Pod
			for i := range batch {
				pods = append(pods, create(t, ns, visible(class, i)))
			}
			for _, pod := range pods {
				running(t, pod)
			}
			for kind, n := range count(t) {
				if n < before[kind]+batch && (kind != residue.Machines || class == "microvm") {
					t.Errorf("with %d pods there are %d %s, without %d: the test looks in the wrong place", batch, n, kind, before[kind])
				}
			}
			empty(t, ns)
			platform.Eventually(t, "nothing is left", func() error {
				for kind, n := range count(t) {
					if n > before[kind] {
						return fmt.Errorf("%d %s, before %d", n, kind, before[kind])
					}
				}
				return nil
			})
		})
	}
}

// visible is a pod with a port of the node, so that there are rules to forget.
func visible(class string, i int) *corev1.Pod {
	pod := idle(class)
	pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: int32(18100 + i)}}
	return pod
}

// empty ends the pods of a namespace, and waits until the node has none of
// them: the API server forgets a pod without a grace period at once.
func empty(t *testing.T, ns string) {
	t.Helper()
	shared.Kubectl(t, "-n", ns, "delete", "pod", "--all", "--now")
	platform.Eventually(t, "the end of all sandboxes", func() error {
		if n := len(sandboxes(t, &runtime.PodSandboxFilter{
			State:         &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_READY},
			LabelSelector: map[string]string{"io.kubernetes.pod.namespace": ns},
		})); n > 0 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// count counts what the instance's pods have on the node, by kind.
func count(t *testing.T) map[string]int {
	t.Helper()
	counts, err := residue.Of(shared.Inst)
	if err != nil {
		t.Fatal(err)
	}
	return counts
}
