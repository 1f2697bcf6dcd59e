package test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// probes are what a hardened plain container must answer, and one that was
// weakened on purpose must not: a probe that could not tell them apart would
// prove nothing.
var probes = []struct{ name, command, hardened string }{
	{"new privileges", "grep NoNewPrivs: /proc/self/status", "NoNewPrivs:\t1"},
	{"system call filter", "grep Seccomp: /proc/self/status", "Seccomp:\t2"},
	{"capabilities", "grep CapBnd: /proc/self/status", "CapBnd:\t00000000000004eb"},
	{"device nodes", "mknod /null c 1 3 2>/dev/null && echo made || echo refused", "refused"},
	{"masked paths", "head -c 1 /proc/timer_list | wc -c", "0"},
	{"read-only paths", "grep -c ' /proc/sys ro[ ,]' /proc/self/mountinfo", "1"},
}

// TestPlainContainersAreHardened asks the probes inside a pod that says
// nothing of its security, and inside one that asks for everything.
func TestPlainContainersAreHardened(t *testing.T) {
	image := shell(t)
	ns := namespace(t)
	hardened := create(t, ns, shellPod(image, "runc"))
	weak := shellPod(image, "runc")
	yes := true
	weak.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	weak = create(t, ns, weak)
	got, without := askProbes(t, running(t, hardened)), askProbes(t, running(t, weak))
	for i, probe := range probes {
		if got[i] != probe.hardened {
			t.Errorf("%s: a plain container answers %q, want %q", probe.name, got[i], probe.hardened)
		}
		if without[i] == probe.hardened {
			t.Errorf("%s: a privileged container answers %q, too", probe.name, without[i])
		}
	}
}

// askProbes runs all probes at once, each of which answers with one line.
func askProbes(t *testing.T, pod *corev1.Pod) []string {
	t.Helper()
	var script strings.Builder
	for _, probe := range probes {
		fmt.Fprintf(&script, "echo \"$(%s)\"\n", probe.command)
	}
	answers := strings.Split(ask(t, pod, script.String()), "\n")
	if len(answers) != len(probes) {
		t.Fatalf("%d probes got the answers %q", len(probes), answers)
	}
	return answers
}

// TestPlainContainersHaveTheirOwnUsers looks at what root in a pod is on the
// node, by what the platform says of this machine.
func TestPlainContainersHaveTheirOwnUsers(t *testing.T) {
	image := shell(t)
	ns := namespace(t)
	able, err := shared.Cluster.CoreV1().ConfigMaps("redoubt-system").Get(t.Context(), "hardening", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := create(t, ns, shellPod(image, "runc"))
	asked := shellPod(image, "runc")
	yes := true
	asked.Spec.HostUsers = &yes
	asked = create(t, ns, asked)
	running(t, pod)
	running(t, asked)
	const sameUsers = "0 0 4294967295"
	const probe = "set -- $(cat /proc/self/uid_map); echo $1 $2 $3"
	if got := ask(t, asked, probe); got != sameUsers {
		t.Errorf("a pod that asks for the node's users has %q", got)
	}
	got := ask(t, pod, probe)
	if able.Data["userNamespaces"] != "true" {
		t.Logf("no user namespaces for pods here: %s", able.Data["reason"])
		if got != sameUsers {
			t.Errorf("the platform says that pods have the node's users, and the pod has %q", got)
		}
		return
	}
	if got == sameUsers || !strings.HasSuffix(got, " 65536") {
		t.Errorf("the users of a plain container are the node's: %q", got)
	}
}

// TestPodsKeepWhatTheySay reads back what the policy makes of pods that have
// an opinion, and of those that it does not concern.
func TestPodsKeepWhatTheySay(t *testing.T) {
	ns := namespace(t)
	yes := true
	said := idle("runc")
	said.Spec.InitContainers = []corev1.Container{{Name: "first", Image: said.Spec.Containers[0].Image}}
	said.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: &yes,
		Capabilities:             &corev1.Capabilities{Add: []corev1.Capability{"NET_RAW", "CAP_MKNOD"}, Drop: []corev1.Capability{"KILL"}},
	}
	made := create(t, ns, said)
	main := made.Spec.Containers[0].SecurityContext
	if !*main.AllowPrivilegeEscalation {
		t.Error("a pod that allows new privileges is not given them")
	}
	if got := fmt.Sprint(main.Capabilities.Drop); got != "[KILL AUDIT_WRITE FSETID SETFCAP SETPCAP SYS_CHROOT]" {
		t.Errorf("dropped: %s", got)
	}
	first := made.Spec.InitContainers[0].SecurityContext
	if first == nil || *first.AllowPrivilegeEscalation || len(first.Capabilities.Drop) != 7 {
		t.Errorf("the init container, which says nothing, has %+v", first)
	}
	if other := create(t, ns, idle("gvisor")); other.Spec.Containers[0].SecurityContext != nil || other.Spec.HostUsers != nil {
		t.Errorf("a pod of another class is changed: %+v", other.Spec)
	}
	host := idle("runc")
	host.Spec.HostNetwork = true
	if made := create(t, ns, host); made.Spec.HostUsers != nil {
		t.Error("a pod in the node's network is given its own users, which it cannot have")
	}
}

// shellPod is a pod of shell that waits to be asked.
func shellPod(image, class string) *corev1.Pod {
	pod := idle(class)
	pod.GenerateName = "shell-"
	pod.Spec.Containers[0].Image = image
	pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "while :; do sleep 3600; done"}
	return pod
}

// shellImage is the machine's busybox, with the commands that tests use.
const shellImage = "localhost/redoubt-test/shell:latest"

var buildShell = sync.OnceValue(func() error {
	args := []string{"image", "build", shellImage, "--binary=/usr/bin/busybox", "--user=0", "--entrypoint=[]", "--file=/usr/bin/busybox:/bin/busybox"}
	for _, name := range shellCommands {
		args = append(args, "--link=/bin/"+name+"=busybox")
	}
	if out, err := shared.Command(context.Background(), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
})

var shellCommands = strings.Fields(`
	cat chmod chown cut date dd echo false free grep head hostname httpd id ip kill ls md5sum mkdir mknod
	mount nc nproc nslookup ps pwd readlink rm rmdir sed sh sleep sort stat stty tail tar touch test tr true tty uname wc wget`)

// shell puts the image of that name into the instance, once.
func shell(t *testing.T) string {
	t.Helper()
	if err := buildShell(); err != nil {
		t.Fatal(err)
	}
	return shellImage
}

// ask runs a shell command in a pod and answers with what it prints.
func ask(t *testing.T, pod *corev1.Pod, command string) string {
	t.Helper()
	out, err := shared.Command(t.Context(), "kubectl", "-n", pod.Namespace, "exec", pod.Name, "--", "/bin/sh", "-c", command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return strings.TrimSpace(string(out))
}
