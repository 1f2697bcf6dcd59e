package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"redoubt.dev/redoubt/test/platform"
)

// A pod whose machine was made before it is like one whose machine was made for
// it: its machine is in its control group and as urgent as any, and what the
// machine has rehearsed has left nothing.
func TestSpareMachinesAreAsNew(t *testing.T) {
	const class = "microvm"
	if !slices.Contains(classes(t), class) {
		t.Fatalf("the node does not offer %s", class)
	}
	ns := namespace(t)
	limited := func() *corev1.Pod {
		pod := shellPod(shell(t), class)
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("96Mi")}
		return pod
	}
	removeSpares(t)
	first := running(t, create(t, ns, limited()))
	if shim := shimOf(t, first); strings.Contains(shim.command, "\x00spare\x00") {
		t.Fatalf("the control, a pod without a spare, has the shim %q", shim.command)
	}
	var second *corev1.Pod
	platform.Eventually(t, "a pod gets a spare machine", func() error {
		second = running(t, create(t, ns, limited()))
		if shim := shimOf(t, second); !strings.Contains(shim.command, "\x00spare\x00") {
			return fmt.Errorf("its shim is %q", shim.command)
		}
		return nil
	})
	machine := shimOf(t, second).machine(t)
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", machine))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(group)) {
		if strings.Contains(line, ":memory:") || strings.HasPrefix(line, "0::/redoubt") {
			if !strings.Contains(line, string(second.UID)) {
				t.Errorf("the machine is in the control group %s", line)
			}
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", machine))
	if err != nil {
		t.Fatal(err)
	}
	const nice = 18 // proc(5), counted from 0
	if fields := strings.Fields(string(stat)); fields[nice] != "0" {
		t.Errorf("the machine's niceness is %s", fields[nice])
	}
	const traces = `ls /sys/class/net /sys/block; wc -l < /proc/mounts; wc -l < /proc/net/if_inet6; wc -l < /proc/net/route; ls /dev/shm; set -- /proc/[0-9]*; echo $#`
	look := func(pod *corev1.Pod) string {
		return shared.Kubectl(t, "-n", ns, "exec", pod.Name, "--", "/bin/sh", "-c", traces)
	}
	if a, b := look(first), look(second); a != b {
		t.Errorf("in a machine of its own:\n%s\nin a spare one:\n%s", a, b)
	}
	for _, trace := range []string{"192.0.2.", "2001:db8", "rehearsal"} {
		if out, _ := shared.Try(t, "", "kubectl", "-n", ns, "exec", second.Name, "--", "/bin/sh", "-c", "grep -r "+trace+" /proc/mounts /proc/net/ /proc/sys/kernel/hostname /etc/hosts 2>/dev/null"); out != "" {
			t.Errorf("a rehearsal's trace: %s", out)
		}
	}
}

// removeSpares ends the spare machines, which nobody has yet.
func removeSpares(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file) // its process may have ended
		folder, _ := os.Readlink(filepath.Join(filepath.Dir(file), "cwd"))
		if strings.Contains(string(line), "\x00spare\x00"+shared.Inst.ContainerdSocket()) && folder == "/" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			if process, err := os.FindProcess(pid); err == nil {
				_ = process.Kill()
			}
		}
	}
}

// shim is a pod's.
type shim struct {
	pid     int
	command string
}

func shimOf(t *testing.T, pod *corev1.Pod) shim {
	t.Helper()
	return shimOfSandbox(t, sandboxOf(t, pod))
}

// shimOfSandbox finds it by containerd's name of the pod.
func shimOfSandbox(t *testing.T, sandbox string) shim {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if bundle, _ := os.Readlink(folder); filepath.Base(bundle) == sandbox {
			command, err := os.ReadFile(filepath.Join(filepath.Dir(folder), "cmdline"))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
			if err != nil {
				t.Fatal(err)
			}
			return shim{pid, string(command)}
		}
	}
	t.Fatalf("sandbox %s has no shim", sandbox)
	return shim{}
}

// machine is the process of the shim's virtual machine.
func (s shim) machine(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		stat, _ := os.ReadFile(file)
		fields := strings.Fields(string(stat))
		if len(fields) > 3 && fields[3] == strconv.Itoa(s.pid) && strings.Contains(fields[1], "qemu") {
			pid, err := strconv.Atoi(fields[0])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("shim %d has no machine", s.pid)
	return 0
}
