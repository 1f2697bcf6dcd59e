package test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/test/platform"
)

// TestMachinesAreResized gives a running pod more memory and processors and takes
// them back: its machine follows, and its container goes on.
func TestMachinesAreResized(t *testing.T) {
	needsMachines(t)
	ns, pod := namespace(t), shellPod(shell(t), "microvm")
	resources := func(cpu, memory string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
		}
	}
	pod.Spec.Containers[0].Resources = resources("500m", "128Mi")
	pod = running(t, create(t, ns, pod))
	began := ask(t, pod, "nproc; cat /proc/sys/kernel/random/boot_id; touch /kept")
	total := func() (mib int) {
		mib, err := strconv.Atoi(ask(t, pod, "grep MemTotal /proc/meminfo | tr -dc 0-9 | sed 's/...$//'"))
		if err != nil {
			t.Fatal(err)
		}
		return mib
	}
	before := total()
	resize := func(cpu, memory string) {
		patch := fmt.Sprintf(`{"spec":{"containers":[{"name":%q,"resources":{"limits":{"cpu":%q,"memory":%q}}}]}}`, pod.Spec.Containers[0].Name, cpu, memory)
		if _, err := shared.Cluster.CoreV1().Pods(ns).Patch(t.Context(), pod.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "resize"); err != nil {
			t.Fatal(err)
		}
	}
	becomes := func(what, command, want string) {
		t.Helper()
		platform.Eventually(t, what, func() error {
			if got := ask(t, pod, command); got != want {
				return fmt.Errorf("it is %q, not %q", got, want)
			}
			return nil
		})
	}
	resize("1500m", "512Mi")
	becomes("the container may use more", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max", "536870912\n150000 100000")
	becomes("the pod has more processors", "nproc", strconv.Itoa(min(2, runtime.NumCPU())))
	platform.Eventually(t, "the machine has more memory", func() error {
		if now := total(); now < before+256 {
			return fmt.Errorf("it has %d MiB, and had %d", now, before)
		}
		return nil
	})
	// More than the machine had: it is there to be used.
	if got := ask(t, pod, "dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null; echo $?"); got != "0" {
		t.Errorf("the use of 300 MiB ended with %s", got)
	}
	resize("500m", "128Mi")
	becomes("the container may use less", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max", "134217728\n50000 100000")
	becomes("the container goes on", "nproc; cat /proc/sys/kernel/random/boot_id; ls /kept", began+"\n/kept")
	platform.Eventually(t, "the machine has less memory", func() error {
		if now := total(); now > before+64 {
			return fmt.Errorf("it has %d MiB, and had %d", now, before)
		}
		return nil
	})
}
