package test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/test/platform"
)

// probeImage has the program of ./probe, which tries to get out.
const probeImage = "localhost/redoubt-test/probe:latest"

var buildProbe = sync.OnceValue(func() error {
	if out, err := shared.Command(context.Background(), "image", "build", probeImage, "--go=./probe", "--user=0").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
})

// harmless are the attempts that succeed in a pod that says nothing of its
// security, by class. They are answered by a kernel that is not the node's.
// What they send has to have the pod's own address to leave its link.
var harmless = map[string][]string{
	"gvisor":  {"open a raw socket", "open a packet socket"},
	"microvm": {"open a raw socket", "open a packet socket"},
}

// TestEscapes lets the probe try from pods of every class, as root: from one
// that says nothing of its security and from one that was given everything.
// Where the kernel is the node's, everything succeeds in the second, which
// shows that the attempts are real, and nothing in the first. Elsewhere neither
// has the node's kernel, whatever it was given.
func TestEscapes(t *testing.T) {
	if err := buildProbe(); err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	node := strings.TrimSpace(string(boot))
	inEveryClass(t, func(t *testing.T, class, ns string) {
		silent, given := probe(t, ns, class, nil), probe(t, ns, class, &corev1.SecurityContext{Privileged: &yes})
		shares := class == "runc"
		for what, answers := range map[string]map[string]string{"silent": silent, "privileged": given} {
			if kernel := answers["kernel"]; (kernel == node) != shares {
				t.Errorf("the %s pod's kernel is %q, the node's %q", what, kernel, node)
			}
		}
		for attempt, answer := range silent {
			if want := slices.Contains(harmless[class], attempt); (answer == "done") != want && attempt != "kernel" {
				t.Errorf("%s: %s, want it done: %t", attempt, answer, want)
			}
			if shares && given[attempt] != "done" && attempt != "kernel" {
				t.Errorf("the control: a privileged pod cannot %s either: %s", attempt, given[attempt])
			}
		}
	})
}

// probe runs the program in a pod and returns what it says, by attempt.
func probe(t *testing.T, ns, class string, security *corev1.SecurityContext) map[string]string {
	t.Helper()
	pod := shellPod(probeImage, class)
	pod.Spec.Containers[0].Command = nil
	pod.Spec.Containers[0].SecurityContext = security
	pod.Spec.HostPID = security != nil && class == "runc"
	pod = running(t, create(t, ns, pod))
	answers := map[string]string{}
	platform.Eventually(t, "the probe's end", func() error {
		log, err := shared.Cluster.CoreV1().Pods(ns).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil || !strings.HasSuffix(string(log), "end\t\n") {
			return fmt.Errorf("its log is %q (%v)", log, err)
		}
		for line := range strings.Lines(strings.TrimSuffix(string(log), "end\t\n")) {
			attempt, answer, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			answers[attempt] = answer
		}
		return nil
	})
	return answers
}

// TestSymlinkInVolume plants a link to the node's root in a volume and asks
// for what is behind it as part of that volume. A pod that is given the node's
// folder is the control.
func TestSymlinkInVolume(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/marker", []byte("the node's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	inEveryClass(t, func(t *testing.T, class, ns string) {
		mounted := func(source corev1.VolumeSource, sub string) *corev1.Pod {
			pod := shellPod(shellImage, class)
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}}
			pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v", SubPath: sub}}
			return pod
		}
		hostPath := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}
		if got := ask(t, running(t, create(t, ns, mounted(hostPath, ""))), "cat /v/marker"); got != "the node's" {
			t.Errorf("the control, a pod that is given the folder, reads %q", got)
		}
		pod := mounted(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, "out"+dir)
		pod.Spec.InitContainers = []corev1.Container{{
			Name: "plant", Image: shellImage, Command: []string{"/bin/sh", "-c", "/bin/busybox ln -s / /whole/out"},
			VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/whole"}},
		}}
		pod = create(t, ns, pod)
		name := pod.Spec.Containers[0].Name
		platform.Eventually(t, "what is behind the link is decided", func() error {
			state := containerOf(look(t, ns, pod.Name), name).State
			switch {
			case state.Running != nil:
				if got := ask(t, pod, "cat /v/marker 2>&1 || true"); strings.Contains(got, "the node's") {
					t.Errorf("the pod reads the node's file: %q", got)
				}
				return nil
			case state.Waiting != nil && (strings.Contains(state.Waiting.Message, "failed to prepare subPath") || strings.Contains(state.Waiting.Message, "in the volume: no such file")):
				return nil
			}
			return fmt.Errorf("it is %+v", state)
		})
	})
}
