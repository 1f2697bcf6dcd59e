package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/test/platform"
)

// A container that does nothing but write takes no more of the platform than a
// small part of the node, loses nothing of what it writes, and is treated as the
// others again when it is silent. One that writes little, the control, never is.
func TestLoudPodsAreHeldBack(t *testing.T) {
	ns, image := namespace(t), shell(t)
	begin := func(script string) *corev1.Pod {
		pod := shellPod(image, "runc")
		pod.Spec.Containers[0].Command = []string{"sh", "-c", script}
		pod = create(t, ns, pod)
		shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "pod/"+pod.Name)
		return pod
	}
	silent := shimOf(t, begin("while :; do echo still here; sleep 1; done"))
	pod := begin("i=0; while [ ! -f /enough ]; do i=$((i+1)); echo $i; done; sleep 3600")
	loud := shimOf(t, pod)
	held := func(s shim) bool { return strings.HasSuffix(processorGroup(t, s.pid), "/engine/loud") }
	platform.Eventually(t, "the loud one is held back", func() error {
		if !held(loud) {
			return fmt.Errorf("its shim is in %s", processorGroup(t, loud.pid))
		}
		return nil
	})
	if held(silent) {
		t.Error("so is the silent one")
	}
	ask(t, pod, "touch /enough")
	platform.Eventually(t, "it is not any more", func() error {
		if held(loud) {
			return fmt.Errorf("its shim is still held back")
		}
		return nil
	})
	lines := strings.Fields(shared.Kubectl(t, "-n", ns, "logs", pod.Name, "--tail=1000"))
	for i, line := range lines {
		if first, err := strconv.Atoi(lines[0]); err != nil || line != strconv.Itoa(first+i) {
			t.Fatalf("the line %d after %s is %s", i, lines[0], line)
		}
	}
}

// processorGroup is the control group by which a process gets processor time.
func processorGroup(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		id, rest, _ := strings.Cut(line, ":")
		controllers, path, _ := strings.Cut(strings.TrimSpace(rest), ":")
		if id == "0" && controllers == "" || strings.Contains(","+controllers+",", ",cpu,") {
			return path
		}
	}
	t.Fatalf("%s has no group of processors", text)
	return ""
}
