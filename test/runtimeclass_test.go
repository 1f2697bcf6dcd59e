package test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/sandbox"
	"redoubt.dev/redoubt/test/platform"
)

// These follow KEP-585 (RuntimeClass) and KEP-688 (pod overhead).

// newClass makes a class for one test.
func newClass(t *testing.T, change func(*nodev1.RuntimeClass)) *nodev1.RuntimeClass {
	t.Helper()
	class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, Handler: "runc"}
	if change != nil {
		change(class)
	}
	made, err := shared.Cluster.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := shared.Cluster.NodeV1().RuntimeClasses().Delete(context.WithoutCancel(t.Context()), made.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return made
}

// idle is a pod that does nothing, in a class.
func idle(class string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "idle-"},
		Spec: corev1.PodSpec{
			Containers:                    []corev1.Container{{Name: "idle", Image: cluster.PauseImage, ImagePullPolicy: corev1.PullNever}},
			TerminationGracePeriodSeconds: new(int64),
		},
	}
	if class != "" {
		pod.Spec.RuntimeClassName = &class
	}
	return pod
}

func create(t *testing.T, ns string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// mustForbid creates a pod that admission must refuse, saying each of parts.
func mustForbid(t *testing.T, ns string, pod *corev1.Pod, parts ...string) {
	t.Helper()
	_, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Fatalf("create: %v, want it forbidden", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal does not say %q: %v", part, err)
		}
	}
}

func running(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	var now *corev1.Pod
	platform.Eventually(t, "pod "+pod.Name+" runs", func() (err error) {
		now, err = shared.Cluster.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is %s: %v", now.Status.Phase, now.Status.ContainerStatuses)
		}
		return err
	})
	return now
}

// event waits for an event of the pod with the reason, and returns its message.
func event(t *testing.T, pod *corev1.Pod, reason string) string {
	t.Helper()
	var message string
	platform.Eventually(t, "event "+reason, func() error {
		events, err := shared.Cluster.CoreV1().Events(pod.Namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID)})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == reason {
				message = e.Message
				return nil
			}
		}
		return fmt.Errorf("none among %d", len(events.Items))
	})
	return message
}

func TestUnknownClassIsRefused(t *testing.T) {
	mustForbid(t, namespace(t), idle("no-such-class"), `RuntimeClass "no-such-class" not found`)
}

func TestDeletedClassIsRefused(t *testing.T) {
	ns, class := namespace(t), newClass(t, nil)
	create(t, ns, idle(class.Name))
	if err := shared.Cluster.NodeV1().RuntimeClasses().Delete(t.Context(), class.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	platform.Eventually(t, "refusal", func() error {
		pod, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), idle(class.Name), metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			return nil
		}
		return fmt.Errorf("pod %v, error %v", pod.Name, err)
	})
}

// A handler that the node has not is never replaced by another.
func TestUnconfiguredHandlerNeverRuns(t *testing.T) {
	class := newClass(t, func(c *nodev1.RuntimeClass) { c.Handler = "not-configured" })
	pod := create(t, namespace(t), idle(class.Name))
	if message := event(t, pod, "FailedCreatePodSandBox"); !strings.Contains(message, "not-configured") {
		t.Errorf("the event does not name the handler: %s", message)
	}
	now, err := shared.Cluster.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if now.Status.Phase != corev1.PodPending || now.Status.PodIP != "" {
		t.Errorf("phase %s with address %q, want Pending without one", now.Status.Phase, now.Status.PodIP)
	}
}

func TestHandlerCannotBeChanged(t *testing.T) {
	class := newClass(t, nil)
	_, err := shared.Cluster.NodeV1().RuntimeClasses().Patch(t.Context(), class.Name, types.MergePatchType, []byte(`{"handler":"gvisor"}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("patch: %v, want it invalid", err)
	}
}

func TestOverheadIsInjected(t *testing.T) {
	overhead := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("15m"), corev1.ResourceMemory: resource.MustParse("33Mi")}
	class := newClass(t, func(c *nodev1.RuntimeClass) { c.Overhead = &nodev1.Overhead{PodFixed: overhead} })
	ns := namespace(t)
	pod := create(t, ns, idle(class.Name))
	if !maps.EqualFunc(pod.Spec.Overhead, overhead, func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 }) {
		t.Errorf("overhead = %v, want %v", pod.Spec.Overhead, overhead)
	}
	other := idle(class.Name)
	other.Spec.Overhead = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}
	mustForbid(t, ns, other, "Overhead")
	none := idle("")
	none.Spec.Overhead = overhead
	mustForbid(t, ns, none, "verhead")
}

func TestOverheadCountsInQuota(t *testing.T) {
	ns := namespace(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "small"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceRequestsMemory: resource.MustParse("100Mi")}},
	}
	if _, err := shared.Cluster.CoreV1().ResourceQuotas(ns).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	platform.Eventually(t, "quota", func() error {
		q, err := shared.Cluster.CoreV1().ResourceQuotas(ns).Get(t.Context(), quota.Name, metav1.GetOptions{})
		if err == nil && len(q.Status.Hard) == 0 {
			err = fmt.Errorf("not counted yet")
		}
		return err
	})
	class := newClass(t, func(c *nodev1.RuntimeClass) {
		c.Overhead = &nodev1.Overhead{PodFixed: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("60Mi")}}
	})
	request := func(pod *corev1.Pod) *corev1.Pod {
		pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("50Mi")}
		return pod
	}
	mustForbid(t, ns, request(idle(class.Name)), "exceeded quota", "requested: requests.memory=110Mi")
	create(t, ns, request(idle("runc"))) // with a smaller overhead it fits
}

func TestOverheadCountsInScheduling(t *testing.T) {
	class := newClass(t, func(c *nodev1.RuntimeClass) {
		c.Overhead = &nodev1.Overhead{PodFixed: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("100Ti")}}
	})
	pod := create(t, namespace(t), idle(class.Name))
	if message := event(t, pod, "FailedScheduling"); !strings.Contains(message, "Insufficient memory") {
		t.Errorf("not scheduled for another reason: %s", message)
	}
}

func TestConflictingNodeSelectorIsRefused(t *testing.T) {
	class := newClass(t, func(c *nodev1.RuntimeClass) {
		c.Scheduling = &nodev1.Scheduling{NodeSelector: map[string]string{"disk": "fast"}}
	})
	pod := idle(class.Name)
	pod.Spec.NodeSelector = map[string]string{"disk": "slow"}
	mustForbid(t, namespace(t), pod, "conflict", "disk")
}

func TestSchedulingIsMerged(t *testing.T) {
	toleration := corev1.Toleration{Key: "sandboxed", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
	class := newClass(t, func(c *nodev1.RuntimeClass) {
		c.Scheduling = &nodev1.Scheduling{NodeSelector: map[string]string{"disk": "fast"}, Tolerations: []corev1.Toleration{toleration}}
	})
	own := corev1.Toleration{Key: "own", Operator: corev1.TolerationOpExists}
	pod := idle(class.Name)
	pod.Spec.NodeSelector, pod.Spec.Tolerations = map[string]string{"zone": "a"}, []corev1.Toleration{own}
	made := create(t, namespace(t), pod)
	if want := map[string]string{"disk": "fast", "zone": "a"}; !maps.Equal(made.Spec.NodeSelector, want) {
		t.Errorf("node selector = %v, want %v", made.Spec.NodeSelector, want)
	}
	for _, want := range []corev1.Toleration{toleration, own} {
		if !slices.Contains(made.Spec.Tolerations, want) {
			t.Errorf("tolerations %v lack %v", made.Spec.Tolerations, want)
		}
	}
}

func TestClassOperations(t *testing.T) {
	classes := shared.Cluster.NodeV1().RuntimeClasses()
	label := metav1.ListOptions{LabelSelector: "test=operations"}
	watcher, err := classes.Watch(t.Context(), label)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	class := newClass(t, func(c *nodev1.RuntimeClass) { c.Labels = map[string]string{"test": "operations"} })
	if _, err := classes.Get(t.Context(), class.Name, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if list, err := classes.List(t.Context(), label); err != nil || len(list.Items) != 1 {
		t.Errorf("list: %v, %v", list, err)
	}
	if _, err := classes.Patch(t.Context(), class.Name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if err := classes.DeleteCollection(t.Context(), metav1.DeleteOptions{}, label); err != nil {
		t.Error(err)
	}
	for _, want := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted} {
		if got := <-watcher.ResultChan(); got.Type != want {
			t.Errorf("watch told %s, want %s", got.Type, want)
		}
	}
}

// The node carries a label for every handler that its runtime reports, and
// what the shipped classes select by is among them.
func TestNodeIsLabelled(t *testing.T) {
	node, err := shared.Cluster.CoreV1().Nodes().Get(t.Context(), shared.Inst.NodeName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"runc", "gvisor"} {
		class, err := shared.Cluster.NodeV1().RuntimeClasses().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range class.Scheduling.NodeSelector {
			if node.Labels[key] != value {
				t.Errorf("class %s selects %s=%s, and the node has %q", name, key, value, node.Labels[key])
			}
		}
	}
	// A kubelet may not claim a sandbox: its own certificate is refused.
	out, err := shared.Try(t, "", "kubectl", "--kubeconfig="+shared.Inst.Data("config", "kubelet.kubeconfig"), "--server=https://127.0.0.1:"+fmt.Sprint(shared.State.APIPort),
		"label", "node", node.Name, "redoubt.node-restriction.kubernetes.io/claimed=true")
	if err == nil || !strings.Contains(err.Error(), "is not allowed to modify labels") {
		t.Errorf("a kubelet's claim: %s, %v", out, err)
	}
}

// The pod's control group holds its limits and the overhead: KEP-688.
func TestPodGroupHoldsOverhead(t *testing.T) {
	class := newClass(t, func(c *nodev1.RuntimeClass) {
		c.Overhead = &nodev1.Overhead{PodFixed: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("40Mi")}}
	})
	pod := idle(class.Name)
	limits := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("60Mi"), corev1.ResourceCPU: resource.MustParse("100m")}
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Limits: limits, Requests: limits}
	pod = running(t, create(t, namespace(t), pod))
	limit, err := memoryLimit(shared.Inst.ID(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(100 << 20); limit != want {
		t.Errorf("the pod's control group allows %d bytes, want %d", limit, want)
	}
}

// What a class cannot do keeps the pod from starting, with the reason, where
// admission does not know of it: it never runs without what it asked for. Here the
// classes are others of the same handlers, of which nothing is declared.
func TestWhatAClassLacksIsRefused(t *testing.T) {
	ns := namespace(t)
	setting := func(pod *corev1.Pod) {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.shm_rmid_forced", Value: "1"}}}
	}
	ownUsers := func(pod *corev1.Pod) { pod.Spec.HostUsers = new(bool) }
	for _, test := range []struct {
		handler string
		ask     func(*corev1.Pod)
		says    string
	}{
		{"gvisor", setting, `gVisor's kernel has no setting "kernel.shm_rmid_forced"`},
		{"gvisor", ownUsers, "user namespaces"},
	} {
		pod := idle(newClass(t, func(c *nodev1.RuntimeClass) { c.Handler = test.handler }).Name)
		test.ask(pod)
		pod = create(t, ns, pod)
		if message := event(t, pod, "FailedCreatePodSandBox"); !strings.Contains(message, test.says) {
			t.Errorf("%s: the event does not say %q: %s", test.handler, test.says, message)
		}
	}
	for _, class := range []string{"runc", "microvm"} { // which have the setting
		pod := idle(class)
		setting(pod)
		running(t, create(t, ns, pod))
	}
}

// What a class cannot do is refused when a pod is changed to ask for it, and what
// asks for it already can be changed in other ways.
func TestWhatAClassLacksIsJudgedWhenItIsNew(t *testing.T) {
	ns, class := namespace(t), newClass(t, nil)
	const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: %s, labels: {n: %q}}
spec:
  replicas: 0
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {runtimeClassName: %s, hostPID: %t, containers: [{name: c, image: localhost/redoubt/pause}]}
`
	shared.Apply(t, fmt.Sprintf(deployment, ns, "1", class.Name, true))
	lacks := func(annotation, what string) {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotation, what)
		if _, err := shared.Cluster.NodeV1().RuntimeClasses().Patch(t.Context(), class.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	asking, silent := idle(class.Name), idle(class.Name)
	asking.Spec.HostPID = true
	answers := func(want string) {
		t.Helper()
		platform.Eventually(t, "the answer is "+want, func() error {
			_, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), asking, dryRun)
			if got := fmt.Sprint(err); !strings.Contains(got, want) {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
	}
	answers("<nil>")
	lacks(sandbox.DeclaredLacksAnnotation, "hostIPC=no such memory\nhostPID=others are hidden")
	answers(fmt.Sprintf("spec.hostPID: the class %q cannot do it: others are hidden; leave it out, or name a class that can", class.Name))
	shared.Apply(t, fmt.Sprintf(deployment, ns, "2", class.Name, true)) // as it was
	shared.Apply(t, fmt.Sprintf(deployment, ns, "2", class.Name, false))
	shared.Refuse(t, fmt.Sprintf(deployment, ns, "2", class.Name, true), "spec.template.spec.hostPID", "others are hidden")
	if _, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), silent, dryRun); err != nil {
		t.Errorf("a pod that asks for nothing: %v", err)
	}
	lacks(sandbox.LacksAnnotation, "") // it was measured, and can
	answers("<nil>")
}

// A class that loses its last node is reported at what needs it, and at nothing
// else.
func TestClassWithoutNodeIsReported(t *testing.T) {
	const label = "redoubt.test/reported"
	ns := namespace(t)
	shared.Kubectl(t, "label", "node", shared.Inst.NodeName(), label+"=true")
	t.Cleanup(func() { _, _ = shared.Try(t, "", "kubectl", "label", "node", shared.Inst.NodeName(), label+"-") })
	class := newClass(t, func(c *nodev1.RuntimeClass) {
		c.Scheduling = &nodev1.Scheduling{NodeSelector: map[string]string{label: "true"}}
	})
	running(t, create(t, ns, idle(class.Name)))
	running(t, create(t, ns, idle("runc")))
	shared.Apply(t, fmt.Sprintf("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s, namespace: %s}\nspec: {template: {spec: {runtimeClassName: %s, containers: [{image: %s}]}}}\n", ns, class.Name, cluster.PauseImage))
	told := func() (kinds []string) {
		events, err := shared.Cluster.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=NoNode"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			if !strings.Contains(e.Message, class.Name) {
				t.Errorf("the event says %q", e.Message)
			}
			if e.InvolvedObject.Name == "s" || strings.HasPrefix(e.InvolvedObject.Name, "idle-") {
				kinds = append(kinds, e.InvolvedObject.Kind)
			}
		}
		slices.Sort(kinds)
		return kinds
	}
	if before := told(); len(before) > 0 {
		t.Errorf("with a node it is reported at %q", before)
	}
	shared.Kubectl(t, "label", "node", shared.Inst.NodeName(), label+"-")
	platform.Eventually(t, "the reports", func() error {
		if got := told(); !slices.Equal(got, []string{"Pod", "Service"}) {
			return fmt.Errorf("they are at %q", got)
		}
		return nil
	})
}
