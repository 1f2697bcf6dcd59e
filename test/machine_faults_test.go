package test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"redoubt.dev/redoubt/test/platform"
)

// fault ends a pod's machine from the node or, with a command of a privileged
// container's, from inside.
type fault struct {
	name   string
	node   func(t *testing.T, s shim)
	inside string
	// lost says that nobody was there to tell how the container ended: containerd
	// makes 255 of it where it has not yet asked the runtime to clean up.
	lost bool
}

func killed(pid func(*testing.T, shim) int) func(*testing.T, shim) {
	return func(t *testing.T, s shim) {
		if err := syscall.Kill(pid(t, s), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

var faults = []fault{
	{name: "hypervisor killed", node: killed(func(t *testing.T, s shim) int { return s.machine(t) })},
	{name: "shim killed", node: killed(func(_ *testing.T, s shim) int { return s.pid }), lost: true},
	{name: "kernel panics", inside: "echo c > /proc/sysrq-trigger"},
	{name: "power off", inside: "echo o > /proc/sysrq-trigger"},
	// The driver lets go of the agent's channel, and a container writes to it.
	{name: "wire garbled", inside: `cd /sys/bus/virtio/drivers/virtio_console; d=$(echo virtio*); echo $d > unbind; echo $d > bind
		for port in /sys/class/virtio-ports/*; do IFS=: read major minor < $port/dev; mknod /dev/port c $major $minor; done
		dd if=/dev/urandom of=/dev/port bs=4096 count=64`},
}

// A pod whose machine ends, however that happens, ends with it: its container was
// killed, the kubelet starts all of it again in a new sandbox, and of the old one
// no process is left. A pod that nothing happens to is the control.
func TestMachineFaults(t *testing.T) {
	needsMachines(t)
	ns, image := namespace(t), shell(t)
	begin := func() *corev1.Pod {
		pod := machinePod(image)
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
		return create(t, ns, pod)
	}
	control, pods := begin(), make([]*corev1.Pod, len(faults))
	for i := range faults {
		pods[i] = begin()
	}
	control = running(t, control)
	type process struct{ shim, machine int }
	old := make([]process, len(faults))
	shims := make([]shim, len(faults))
	for i := range faults {
		pods[i] = running(t, pods[i])
		shims[i] = shimOf(t, pods[i])
		old[i] = process{shims[i].pid, shims[i].machine(t)}
	}
	// The kubelet takes a container that is made and not yet started for a dead one,
	// and keeps one dead one: the killed one's end may show for a moment only.
	ends := make([]*corev1.ContainerStateTerminated, len(faults))
	see := func() (err error) {
		for i, f := range faults {
			c := look(t, ns, pods[i].Name).Status.ContainerStatuses[0]
			ends[i] = cmp.Or(c.LastTerminationState.Terminated, c.State.Terminated, ends[i])
			if c.RestartCount == 0 || c.State.Running == nil || ends[i] == nil {
				err = errors.Join(err, fmt.Errorf("%s: the container is %+v", f.name, c))
			}
		}
		return err
	}
	for i, f := range faults {
		if f.node != nil {
			f.node(t, shims[i])
		} else {
			// The command ends with its machine.
			_, _ = shared.Try(t, "", "kubectl", "-n", ns, "exec", pods[i].Name, "--", "/bin/sh", "-c", "("+f.inside+") </dev/null >/dev/null 2>&1 & exit")
		}
		_ = see() // nothing is wanted yet
	}
	platform.Eventually(t, "the pods run again", see)
	for i, f := range faults {
		if end := ends[i]; end.ExitCode != 137 && !(f.lost && end.ExitCode == 255) {
			t.Errorf("%s: the container ended with %d, %s, want 137", f.name, end.ExitCode, end.Reason)
		}
		if got := event(t, pods[i], "SandboxChanged"); !strings.Contains(got, "sandbox") {
			t.Errorf("%s: the event says %q", f.name, got)
		}
		platform.Eventually(t, f.name+": the old machine is gone", func() error {
			for _, pid := range []int{old[i].shim, old[i].machine} {
				if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
					return fmt.Errorf("process %d is there", pid)
				}
			}
			return nil
		})
	}
	if c := look(t, ns, control.Name).Status.ContainerStatuses[0]; c.RestartCount != 0 || !c.Ready {
		t.Errorf("the control was started again: %+v", c)
	}
}

// A pod whose machine stands still can be deleted all the same.
func TestStalledMachineIsDeleted(t *testing.T) {
	needsMachines(t)
	ns, image := namespace(t), shell(t)
	pod := running(t, create(t, ns, machinePod(image)))
	machine := shimOf(t, pod).machine(t)
	if err := syscall.Kill(machine, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Try(t, "", "kubectl", "-n", ns, "delete", "pod", pod.Name, "--grace-period=1", "--wait=false"); err != nil {
		t.Fatal(err)
	}
	platform.Eventually(t, "the pod and its machine are gone", func() error {
		if _, err := shared.Try(t, "", "kubectl", "-n", ns, "get", "pod", pod.Name); err == nil {
			return errors.New("the pod is there")
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", machine)); err == nil {
			return fmt.Errorf("process %d is there", machine)
		}
		return nil
	})
}

// What a container writes or takes beyond what it may fails or ends it, and its
// machine goes on: the other container in it is the control. What is written to
// the root file system is memory, and counts against the container's limit.
func TestMachinesOutliveTheirContainersExcess(t *testing.T) {
	needsMachines(t)
	ns, image := namespace(t), shell(t)
	const fill = "dd if=/dev/zero of=/fill bs=1048576"
	beside := func(limit, command string) *corev1.Pod {
		pod := shellPod(image, "microvm")
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		eater := *pod.Spec.Containers[0].DeepCopy()
		eater.Name, eater.Command = "eater", []string{"/bin/sh", "-c", command}
		if limit != "" {
			eater.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}
		}
		pod.Spec.Containers = append(pod.Spec.Containers, eater)
		return create(t, ns, pod)
	}
	for _, test := range []struct {
		name   string
		pod    *corev1.Pod
		reason string
		code   int32
	}{
		{"disk", beside("", fill+" 2>&1 | grep 'No space left on device' && rm /fill && echo more > /more && exit 7"), "Error", 7},
		{"disk beyond the memory limit", beside("48Mi", fill), "OOMKilled", 137},
		{"memory", beside("", "tail /dev/zero"), "OOMKilled", 137},
	} {
		platform.Eventually(t, test.name+": the container ends", func() error {
			pod := look(t, ns, test.pod.Name)
			end := containerOf(pod, "eater").State.Terminated
			if end == nil {
				return fmt.Errorf("the containers are %+v", pod.Status.ContainerStatuses)
			}
			if end.Reason != test.reason || end.ExitCode != test.code {
				t.Errorf("%s: it ended with %d, %s, want %d, %s", test.name, end.ExitCode, end.Reason, test.code, test.reason)
			}
			if c := containerOf(pod, pod.Spec.Containers[0].Name); c.State.Running == nil {
				t.Errorf("%s: the other container is %+v", test.name, c)
			}
			return nil
		})
	}
}
