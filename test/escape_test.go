package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/probe"
	"redoubt.dev/redoubt/internal/probe/measure"
	"redoubt.dev/redoubt/test/platform"
)

// everybodys are what a workload may have, where its kernel has it.
var everybodys = []string{"IPv6", "ptrace", "FUSE", "Landlock"}

// harmless are the attempts that succeed in a pod that says nothing of its
// security, by class: a kernel that is not the node's answers them, and what
// raw sockets send has to have the pod's own address to leave its link.
var harmless = map[string][]string{
	"gvisor":  {"raw sockets", "packet sockets"},
	"microvm": {"raw sockets", "packet sockets"},
}

// TestEscapes measures every class: as root in a pod that says nothing of its
// security, and in one that was given everything. Where the kernel is the
// node's, everything succeeds in the second, which shows that the attempts are
// real, and nothing in the first. Elsewhere neither has the node's
// kernel, whatever it was given.
func TestEscapes(t *testing.T) {
	measured(t)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	node, able := strings.TrimSpace(string(boot)), onNode(t)
	for _, name := range classes(t) {
		class, err := shared.Cluster.NodeV1().RuntimeClasses().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := measure.Of(class)
		if err != nil || len(nodes) != 1 {
			t.Fatalf("class %s is measured on %d nodes: %v", name, len(nodes), err)
		}
		for _, m := range nodes {
			t.Run(name, func(t *testing.T) {
				judgeEscapes(t, name, node, able, m)
				judgeHandling(t, m)
			})
		}
		described := shared.Redoubt(t, "runtimeclass", "describe", name)
		if !all(described, "Measured on ", "mounts:", "privileged pods only", "raw sockets:", "port-forward:", "network MB/s:", "spec.hostPID:", "spec.securityContext.sysctls[net.ipv4.tcp_rmem]:") {
			t.Errorf("the description is\n%s", described)
		}
	}
}

// once has the measurement that all tests share.
var once struct {
	sync.Once
	err error
}

// measured sees to it that every class is measured.
func measured(t *testing.T) {
	t.Helper()
	once.Do(func() {
		var out string
		out, once.err = shared.Try(t, "", "runtimeclass", "measure")
		for _, class := range classes(t) {
			if once.err == nil && !strings.Contains(out, "'"+class+"'") {
				once.err = fmt.Errorf("class %s is not measured: %s", class, out)
			}
		}
	})
	if once.err != nil {
		t.Fatal(once.err)
	}
}

// judgeHandling looks at what can be done to pods of a class, and how fast they are.
func judgeHandling(t *testing.T, m measure.Measured) {
	t.Helper()
	for _, verb := range []string{"exec", "port-forward", "resize", "freeze"} {
		if m.Verbs[verb] != probe.Works {
			t.Errorf("%s: %q", verb, m.Verbs[verb])
		}
	}
	// The API server may not ask the kubelet for pods' memory.
	if !strings.Contains(m.Verbs["checkpoint"], "Forbidden") {
		t.Errorf("checkpoint: %q", m.Verbs["checkpoint"])
	}
	for _, figure := range []string{probe.FileWrite, probe.FileRead, probe.Network, probe.SystemCalls, measure.Start} {
		if m.Figures[figure] <= 0 {
			t.Errorf("%s: %v", figure, m.Figures[figure])
		}
	}
}

func judgeEscapes(t *testing.T, class, node string, able map[string]string, m measure.Measured) {
	shares := class == "runc"
	for what, report := range map[string]probe.Report{"silent": m.Default, "privileged": m.Privileged} {
		if (report.Boot == node) != shares {
			t.Errorf("the %s pod's kernel is %q, the node's %q", what, report.Boot, node)
		}
	}
	for attempt, answer := range m.Default.Can {
		if slices.Contains(everybodys, attempt) {
			continue
		}
		if want := slices.Contains(harmless[class], attempt); (answer == probe.Works) != want {
			t.Errorf("%s: %s, want it done: %t", attempt, answer, want)
		}
		switch control := m.Privileged.Can[attempt]; {
		case !shares || control == probe.Works:
		case able[attempt] != probe.Works:
			t.Logf("%s: this node's root cannot do it either (%s), so that a pod cannot proves nothing here", attempt, able[attempt])
		default:
			t.Errorf("the control: a privileged pod cannot do it either: %s: %s", attempt, control)
		}
	}
}

// onNode is what root can do outside of all pods, by attempt, with a network and
// mounts of its own.
func onNode(t *testing.T) map[string]string {
	t.Helper()
	redoubt, err := platform.Program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(redoubt), "redoubt-probe"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report probe.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	return report.Can
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
