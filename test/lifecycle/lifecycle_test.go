// Package lifecycle boots instances, breaks them and ends them, and looks at
// what became of the machine.
package lifecycle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/sandbox"
	"redoubt.dev/redoubt/test/platform"
)

// boot boots an instance that is ended and removed with the test, if the test
// has not done so.
func boot(t *testing.T, name string, flags ...string) *platform.Platform {
	t.Helper()
	p, err := platform.Boot(name, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.End(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Down with --purge leaves the machine as it was, with an instance that has
// run pods in every class.
func TestDownLeavesNothing(t *testing.T) {
	before, err := look()
	if err != nil {
		t.Fatal(err)
	}
	p := boot(t, "traces")
	classes, err := sandbox.Offered(t.Context(), p.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range classes {
		run(t, p, class.Name)
	}
	during, err := look()
	if err != nil {
		t.Fatal(err)
	}
	// The control: what is looked for is there while the instance runs.
	for _, kind := range []string{"process", "mount", "link", "nft", "folder"} {
		if !strings.Contains(strings.Join(during.since(before), "\n"), kind+" ") {
			t.Errorf("a running instance shows no %s: the test looks in the wrong place", kind)
		}
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	after, err := look()
	if err != nil {
		t.Fatal(err)
	}
	if left := after.since(before); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	if lost := before.since(after); len(lost) > 0 {
		t.Errorf("taken away:\n%s", strings.Join(lost, "\n"))
	}
	if _, err := os.Stat(p.Inst.DataDir); !os.IsNotExist(err) {
		t.Errorf("data folder %s: %v, want it gone", p.Inst.DataDir, err)
	}
}

// The supervisor killed, everything comes back, and the pods have run on.
func TestPodsSurviveTheSupervisor(t *testing.T) {
	p := boot(t, "killed")
	pods := map[string]*corev1.Pod{}
	for _, class := range []string{"runc", "gvisor"} {
		pods[class] = run(t, p, class)
	}
	acknowledged := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "acknowledged"}}
	if _, err := p.Cluster.CoreV1().ConfigMaps("default").Create(t.Context(), acknowledged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Cluster.CoreV1().ConfigMaps("default").Get(t.Context(), "acknowledged", metav1.GetOptions{}); err != nil {
		t.Errorf("what the API server acknowledged is lost: %v", err)
	}
	for class, pod := range pods {
		unbroken(t, p, class, pod)
	}
}

// Every process killed in turn is started again; pods do not notice.
func TestPodsSurviveEveryComponent(t *testing.T) {
	p := boot(t, "broken")
	pod := run(t, p, "runc")
	processes, err := cluster.Processes(t.Context(), p.Inst)
	if err != nil {
		t.Fatal(err)
	}
	for _, victim := range processes {
		if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		platform.Eventually(t, victim.Name+" runs again", func() error { return restarted(t.Context(), p, victim.Name, victim.PID) })
	}
	platform.Eventually(t, "the platform is healthy", func() error { return cluster.Look(t.Context(), p.Inst).Check() })
	unbroken(t, p, "runc", pod)
	run(t, p, "runc") // and new pods start
}

func restarted(ctx context.Context, p *platform.Platform, name string, killed int) error {
	processes, err := cluster.Processes(ctx, p.Inst)
	if err != nil {
		return err
	}
	for _, now := range processes {
		if now.Name == name && (now.PID == killed || now.PID == 0) {
			return fmt.Errorf("%s: %s, pid %d", name, now.State, now.PID)
		}
	}
	return nil
}

// Down ends an instance that somebody has frozen, its supervisor stopped, and
// leaves nothing of it.
func TestDownEndsAFrozenInstance(t *testing.T) {
	p := boot(t, "frozen")
	run(t, p, "runc")
	freeze(t, p.Inst.ID())
	stop(t, p.State.SupervisorPID)
	// The control: frozen, the instance does not answer.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if processes, err := cluster.Processes(ctx, p.Inst); err == nil {
		t.Fatalf("a frozen instance answers: %v", processes)
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*/" + p.Inst.ID()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// stop stops a process, which goes on until all of its threads have noticed.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	platform.Eventually(t, "the process stops", func() error {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("process %d: %d threads, %w", pid, len(files), err)
		}
		for _, file := range files {
			// The state follows the name, which is in parentheses (proc_pid_stat(5)).
			content, err := os.ReadFile(file)
			if _, state, _ := strings.Cut(string(content), ") "); err == nil && !strings.HasPrefix(state, "T") {
				return fmt.Errorf("%s: %.20s", file, state)
			}
		}
		return nil
	})
}

// freeze freezes an instance's control group, on cgroup v1 or v2.
func freeze(t *testing.T, id string) {
	t.Helper()
	for file, value := range map[string]string{
		"/sys/fs/cgroup/freezer/" + id + "/freezer.state": "FROZEN",
		"/sys/fs/cgroup/" + id + "/cgroup.freeze":         "1",
	} {
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the machine cannot freeze control groups")
}

// Two instances run side by side with the same addresses inside, and ending
// one leaves the other alone.
func TestTwoInstances(t *testing.T) {
	first, second := boot(t, "first"), boot(t, "second")
	a, b := run(t, first, "runc"), run(t, second, "runc")
	if _, err := second.Cluster.CoreV1().Pods("default").Get(t.Context(), a.Name, metav1.GetOptions{}); err == nil {
		t.Errorf("pod %s of the first instance shows in the second", a.Name)
	}
	if err := first.End(); err != nil {
		t.Fatal(err)
	}
	unbroken(t, second, "runc", b)
	run(t, second, "runc")
}

// run starts a pod in a class and waits until it runs.
func run(t *testing.T, p *platform.Platform, class string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: class + "-"},
		Spec: corev1.PodSpec{
			RuntimeClassName: &class,
			Containers:       []corev1.Container{{Name: "idle", Image: cluster.PauseImage, ImagePullPolicy: corev1.PullNever}},
		},
	}
	platform.Eventually(t, "pod is accepted", func() error {
		made, err := p.Cluster.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		if err == nil {
			pod = made
		}
		return err
	})
	platform.Eventually(t, "pod "+pod.Name+" runs", func() error {
		now, err := p.Cluster.CoreV1().Pods("default").Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod = now; now.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s", now.Status.Phase)
		}
		return nil
	})
	return pod
}

// unbroken checks that a pod is ready and its containers are the same ones.
func unbroken(t *testing.T, p *platform.Platform, class string, before *corev1.Pod) {
	t.Helper()
	platform.Eventually(t, "the pod of class "+class+" is ready", func() error {
		now, err := p.Cluster.CoreV1().Pods("default").Get(t.Context(), before.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		is, was := now.Status.ContainerStatuses[0], before.Status.ContainerStatuses[0]
		if is.ContainerID != was.ContainerID || is.RestartCount != was.RestartCount {
			t.Fatalf("class %s: container %s was replaced by %s", class, was.ContainerID, is.ContainerID)
		}
		if !is.Ready || now.Status.PodIP != before.Status.PodIP {
			return fmt.Errorf("ready %t, address %s", is.Ready, now.Status.PodIP)
		}
		return nil
	})
}
