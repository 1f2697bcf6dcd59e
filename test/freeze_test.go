package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/test/platform"
)

// webService answers with its page, and is frozen when it has been idle for a
// second. The rest of the container's fields can be added.
const webService = `
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: %s, namespace: %s}
spec:
  template:
    metadata: {annotations: {redoubt.dev/freeze: %s}}
    spec:
      runtimeClassName: %s
      timeoutSeconds: 5
      containers:
      - image: localhost/redoubt-test/shell:latest
        command: [sh, -c, 'mkdir /www && echo here > /www/index.html && exec httpd -f -p 8080 -h /www']
        %s
`

func deployWeb(t *testing.T, name, ns, freeze, class, more string) {
	t.Helper()
	shared.Apply(t, fmt.Sprintf(webService, name, ns, freeze, class, more))
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "services.serving.knative.dev/"+name)
}

// request makes a request through the gateway.
func request(t *testing.T, name, ns string) error {
	t.Helper()
	_, err := visit(t, name+"."+ns+".localhost")
	return err
}

// visit asks the gateway for the root of a host; all but success is an error.
func visit(t *testing.T, host string) (body string, err error) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", shared.State.HTTPPort) // not everybody resolves names below localhost
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// instanceOf is the one pod of a service.
func instanceOf(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	pods, err := shared.Cluster.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + name})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 {
		t.Fatalf("service %s has %d pods, want one", name, len(pods.Items))
	}
	return &pods.Items[0]
}

func awaitFrozen(t *testing.T, ns, name string, want corev1.ConditionStatus) {
	t.Helper()
	platform.Eventually(t, "condition "+serving.PodFrozen, func() error {
		for _, c := range instanceOf(t, ns, name).Status.Conditions {
			if c.Type == serving.PodFrozen && c.Status == want {
				return nil
			}
		}
		return errors.New("is not " + string(want))
	})
}

// An idle instance is frozen, whatever its class: its processor time stands
// still. The next request is answered by the same instance, without a restart;
// a frozen one can be deleted; and one that was frozen by a node role that was
// killed is answered too.
func TestIdleInstancesFreeze(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		deployWeb(t, "web", ns, "1s", class, "")
		awaitFrozen(t, ns, "web", corev1.ConditionTrue)
		before := instanceOf(t, ns, "web")
		if frozen, err := isFrozen(shared.Inst.ID(), before); err != nil || !frozen {
			t.Errorf("the pod's control group is not frozen: %v", err)
		}
		for range 3 { // thawed, and warm
			if err := request(t, "web", ns); err != nil {
				t.Fatal(err)
			}
		}
		after := instanceOf(t, ns, "web")
		if after.UID != before.UID || after.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("instance %s answered, which was restarted or is not the frozen one", after.Name)
		}
		awaitFrozen(t, ns, "web", corev1.ConditionTrue)
		shared.Kubectl(t, "-n", ns, "delete", "services.serving.knative.dev", "web", "--timeout=60s")
		shared.Kubectl(t, "-n", ns, "wait", "--for=delete", "--timeout=60s", "pod/"+after.Name)
	})
}

// A command in a frozen instance runs, and the instance is not frozen again,
// not even by another node role.
func TestCommandsThawForGood(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		deployWeb(t, "web", ns, "1s", class, "")
		awaitFrozen(t, ns, "web", corev1.ConditionTrue)
		pod := instanceOf(t, ns, "web")
		if out := shared.Kubectl(t, "-n", ns, "exec", pod.Name, "--", "echo", "inside"); strings.TrimSpace(out) != "inside" {
			t.Errorf("a command in the frozen instance printed %q", out)
		}
		awaitFrozen(t, ns, "web", corev1.ConditionFalse)
		deployWeb(t, "control", ns, "1s", class, "")
		awaitFrozen(t, ns, "control", corev1.ConditionTrue)
		for range 5 {
			if err := request(t, "web", ns); err != nil {
				t.Error(err)
			}
		}
		if frozen, err := isFrozen(shared.Inst.ID(), pod); err != nil || frozen {
			t.Errorf("the instance that the command ran in is frozen again: %v, %v", frozen, err)
		}
		if c := instanceOf(t, ns, "web").Status.ContainerStatuses[0]; c.RestartCount != 0 {
			t.Errorf("the instance restarted: %+v", c.LastTerminationState)
		}
	})
}

// A port that is forwarded into a frozen instance answers, and the instance goes
// on as long as somebody is connected, and no longer.
func TestForwardsThaw(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		deployWeb(t, "web", ns, "1s", class, "")
		awaitFrozen(t, ns, "web", corev1.ConditionTrue)
		pod := instanceOf(t, ns, "web")
		address, end := forwarding(t, pod)
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		awaitFrozen(t, ns, "web", corev1.ConditionFalse)
		deployWeb(t, "control", ns, "1s", class, "")
		awaitFrozen(t, ns, "control", corev1.ConditionTrue)
		if err := request(t, "web", ns); err != nil {
			t.Error(err)
		}
		if frozen, err := isFrozen(shared.Inst.ID(), pod); err != nil || frozen {
			t.Errorf("the instance is frozen while a port is forwarded into it: %v, %v", frozen, err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "here\n") {
			t.Errorf("the answer is %q, %v", answer, err)
		}
		conn.Close()
		end()
		awaitFrozen(t, ns, "web", corev1.ConditionTrue)
	})
}

// What a frozen instance may use can be changed: it goes on for as long as that
// takes, and is not restarted.
func TestFrozenInstancesAreResized(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		deployWeb(t, "web", ns, "1s", class, "resources: {requests: {cpu: 20m}}")
		awaitFrozen(t, ns, "web", corev1.ConditionTrue)
		pod := instanceOf(t, ns, "web")
		shared.Kubectl(t, "-n", ns, "patch", "pod", pod.Name, "--subresource=resize", "--patch",
			`{"spec": {"containers": [{"name": "user-container", "resources": {"requests": {"cpu": "10m"}}}]}}`)
		platform.Eventually(t, "the node has resized it, and frozen it again", func() error {
			now := instanceOf(t, ns, "web").Status.ContainerStatuses[0]
			if now.RestartCount != 0 {
				t.Fatalf("it was restarted: %+v", now.LastTerminationState)
			}
			if got := now.Resources.Requests.Cpu().String(); got != "10m" {
				return fmt.Errorf("it has %s", got)
			}
			if frozen, err := isFrozen(shared.Inst.ID(), pod); err != nil || !frozen {
				return fmt.Errorf("it is not frozen: %v", err)
			}
			return nil
		})
		awaitFrozen(t, ns, "web", corev1.ConditionTrue)
		if err := request(t, "web", ns); err != nil {
			t.Error(err)
		}
	})
}

// One death of the node role is for all classes: each in a row would keep it
// away for longer.
func TestFrozenInstancesSurviveTheNodeRole(t *testing.T) {
	shell(t)
	ns := namespace(t)
	all := classes(t)
	for _, class := range all {
		deployWeb(t, "web-"+class, ns, "1s", class, "")
	}
	for _, class := range all {
		awaitFrozen(t, ns, "web-"+class, corev1.ConditionTrue)
	}
	killRole(t, "node")
	for _, class := range all {
		if err := request(t, "web-"+class, ns); err != nil {
			t.Errorf("class %s: %v", class, err)
		}
	}
}

// What is at work when its pod is frozen goes on where it was, however often
// that is. gVisor once took its processes for dead then, within some ten times.
func TestBusyPodsSurviveFreezing(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		pod := shellPod(shell(t), class)
		pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "while :; do /bin/busybox true || echo died; echo worked; done"}
		pod = running(t, create(t, ns, pod))
		for range 200 {
			for _, frozen := range []bool{true, false} {
				if err := setFrozen(shared.Inst.ID(), pod, frozen); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Millisecond) // so that it gets somewhere in between
			}
		}
		before := shared.Kubectl(t, "-n", ns, "logs", pod.Name)
		platform.Eventually(t, "it goes on", func() error {
			if now := shared.Kubectl(t, "-n", ns, "logs", pod.Name, "--since=5s"); !strings.Contains(now, "worked") {
				return errors.New("it does nothing")
			}
			return nil
		})
		if now := look(t, ns, pod.Name).Status.ContainerStatuses[0]; now.RestartCount > 0 || now.State.Running == nil || strings.Contains(before, "died") {
			t.Errorf("a container that was frozen at work: %+v\n%s", now, before)
		}
	})
}

// An instance that the kubelet must ask how it is would look broken when it is
// frozen; and its owner can refuse. The service says which it is.
func TestSomeInstancesAreNeverFrozen(t *testing.T) {
	ns := namespace(t)
	shell(t)
	deployWeb(t, "asked", ns, "auto", "runc", "livenessProbe: {httpGet: {path: /}, periodSeconds: 1}")
	deployWeb(t, "refused", ns, "never", "runc", "")
	deployWeb(t, "control", ns, "1s", "runc", "")
	awaitFrozen(t, ns, "control", corev1.ConditionTrue)
	for _, name := range []string{"asked", "refused"} {
		if frozen, err := isFrozen(shared.Inst.ID(), instanceOf(t, ns, name)); err != nil || frozen {
			t.Errorf("%s is frozen: %v", name, err)
		}
	}
	for name, says := range map[string]string{"asked": "False Probed", "refused": "False Never", "control": "True "} {
		got := shared.Kubectl(t, "-n", ns, "get", "ksvc", name, "-o",
			`jsonpath={range .status.conditions[?(@.type=="redoubt.dev/Freezable")]}{.status} {.reason}{end}`)
		if got != says {
			t.Errorf("%s says of being frozen %q, want %q", name, got, says)
		}
	}
}

// killRole ends one of the platform's processes as if it had crashed.
func killRole(t *testing.T, name string) {
	t.Helper()
	var status struct {
		Components []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(shared.Redoubt(t, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	for _, c := range status.Components {
		if c.Name == name && c.PID > 0 {
			_ = syscall.Kill(c.PID, syscall.SIGKILL) // another test may have been first
			return
		}
	}
}

// The node role may say of an instance that it is frozen, and nothing else, and
// nothing of other pods. As an administrator the same writes succeed.
func TestNodeRoleSaysNothingElse(t *testing.T) {
	ns := namespace(t)
	shell(t)
	deployWeb(t, "web", ns, "never", "runc", "")
	pod := instanceOf(t, ns, "web").Name
	other := create(t, ns, idle("runc")).Name
	asAdministrator, asNode := clientAs(t, ""), clientAs(t, "redoubt:node")
	for _, c := range []struct {
		name, pod, patch string
		taken            bool
	}{
		{"frozen", pod, `{"status": {"conditions": [{"type": "redoubt.dev/Frozen", "status": "True"}]}}`, true},
		{"ready", pod, `{"status": {"conditions": [{"type": "Ready", "status": "False"}]}}`, false},
		{"phase", pod, `{"status": {"phase": "Failed"}}`, false},
		{"label", pod, `{"metadata": {"labels": {"color": "blue"}}}`, false},
		{"annotation", pod, `{"metadata": {"annotations": {"color": "blue"}}}`, false},
		{"finalizer", pod, `{"metadata": {"finalizers": ["example.org/never"]}}`, false},
		{"no instance", other, `{"status": {"conditions": [{"type": "redoubt.dev/Frozen", "status": "True"}]}}`, false},
		{"made one", other, `{"metadata": {"labels": {"serving.knative.dev/revisionUID": "x"}}, "status": {"conditions": [{"type": "redoubt.dev/Frozen", "status": "True"}]}}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			patch := func(as kubernetes.Interface) error {
				_, err := as.CoreV1().Pods(ns).Patch(t.Context(), c.pod, types.StrategicMergePatchType, []byte(c.patch),
					metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "status")
				return err
			}
			if err := patch(asNode); (err == nil) != c.taken {
				t.Errorf("the node role's write: %v", err)
			}
			if err := patch(asAdministrator); err != nil {
				t.Errorf("the administrator's write: %v", err)
			}
		})
	}
}

// The node role may say of its node which sandboxes it offers, and nothing else.
// As an administrator the same writes succeed.
func TestNodeRoleLabelsWithItsOwn(t *testing.T) {
	nodes, err := shared.Cluster.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		t.Fatalf("nodes: %v (%v)", nodes.Items, err)
	}
	asAdministrator, asNode := clientAs(t, ""), clientAs(t, "redoubt:node")
	for patch, taken := range map[string]bool{
		`{"metadata": {"labels": {"redoubt.node-restriction.kubernetes.io/example": "true"}}}`:     true,
		`{"metadata": {"annotations": {"redoubt.dev/microvm-accelerator": "example"}}}`:            true,
		`{"metadata": {"labels": {"example.org/disk": "fast"}}}`:                                   false,
		`{"metadata": {"labels": {"kubernetes.io/hostname": null}}}`:                               false,
		`{"metadata": {"annotations": {"example.org/disk": "fast"}}}`:                              false,
		`{"metadata": {"finalizers": ["example.org/never"]}}`:                                      false,
		`{"spec": {"unschedulable": true}}`:                                                        false,
		`{"spec": {"taints": [{"key": "example.org/away", "value": "x", "effect": "NoExecute"}]}}`: false,
	} {
		send := func(as kubernetes.Interface) error {
			_, err := as.CoreV1().Nodes().Patch(t.Context(), nodes.Items[0].Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
		if err := send(asNode); (err == nil) != taken {
			t.Errorf("%s from the node role: %v", patch, err)
		}
		if err := send(asAdministrator); err != nil {
			t.Errorf("%s from the administrator: %v", patch, err)
		}
	}
}

// The node role of one node says nothing of another, nor of its pods.
func TestNodeRoleIsBoundToItsNode(t *testing.T) {
	ns := namespace(t)
	shell(t)
	deployWeb(t, "web", ns, "never", "runc", "")
	pod := instanceOf(t, ns, "web")
	node, dry := pod.Spec.NodeName, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}
	for group, own := range map[string]bool{"redoubt:node:" + node: true, "redoubt:node:another": false} {
		as := clientAs(t, "redoubt:node", group)
		_, err := as.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType,
			[]byte(`{"metadata": {"labels": {"redoubt.node-restriction.kubernetes.io/example": "true"}}}`), dry)
		if (err == nil) != own {
			t.Errorf("%s labels the node: %v", group, err)
		}
		_, err = as.CoreV1().Pods(ns).Patch(t.Context(), pod.Name, types.StrategicMergePatchType,
			[]byte(`{"status": {"conditions": [{"type": "redoubt.dev/Frozen", "status": "True"}]}}`), dry, "status")
		if (err == nil) != own {
			t.Errorf("%s says that a pod is frozen: %v", group, err)
		}
	}
}

// clientAs acts as another user, in groups; an empty name is the administrator.
func clientAs(t *testing.T, user string, groups ...string) kubernetes.Interface {
	t.Helper()
	cfg, err := kube.Config(shared.Inst.Kubeconfig(), "redoubt-test")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Impersonate.UserName, cfg.Impersonate.Groups = user, groups
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
