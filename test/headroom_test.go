package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/processors"
	"redoubt.dev/redoubt/test/platform"
)

// TestGreedyPodsLeaveProcessors lets a pod of each class take as much time of
// processors as it gets, without having asked for any. What asks for little has
// all processors meanwhile. On a machine with one there is nothing to leave.
func TestGreedyPodsLeaveProcessors(t *testing.T) {
	all := allowed(t, os.Getpid())
	for _, class := range classes(t) {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			ns, image := namespace(t), shell(t)
			modest := create(t, ns, shellPod(image, class))
			pod := shellPod(image, class)
			pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "while [ ! -f /enough ]; do :; done; sleep 3600"}
			greedy := create(t, ns, pod)
			shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "pod/"+modest.Name, "pod/"+greedy.Name)
			haveAll := func(pod *corev1.Pod, want processors.Set) error {
				for _, pid := range processesOf(t, pod) {
					if has := allowed(t, pid); has != nil && has.String() != want.String() {
						return fmt.Errorf("its process %d has the processors %s, not %s", pid, has, want)
					}
				}
				return nil
			}
			platform.Eventually(t, "the greedy pod leaves processors", func() error { return haveAll(greedy, all.Greedy()) })
			ask(t, greedy, "touch /enough")
			platform.Eventually(t, "all are its again", func() error { return haveAll(greedy, all) })
			platform.Eventually(t, "the modest one has all", func() error { return haveAll(modest, all) })
		})
	}
}

// processesOf are those of the node that are in the pod's control group.
func processesOf(t *testing.T, pod *corev1.Pod) []int {
	t.Helper()
	groups, err := cgroup.New(shared.Inst.ID())
	if err != nil {
		t.Fatal(err)
	}
	pids, err := groups.Processes(filepath.Join("kubepods", strings.ToLower(string(pod.Status.QOSClass)), "pod"+string(pod.UID)))
	if err != nil || len(pids) == 0 {
		t.Fatalf("pod %s has the processes %v: %v", pod.Name, pids, err)
	}
	return pids
}

// allowed are the processors that a process may use; none if it has ended.
func allowed(t *testing.T, pid int) processors.Set {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			s, err := processors.Parse(list)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatalf("the status of process %d names no processors", pid)
	return nil
}
