package test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	requests "k8s.io/component-helpers/resource"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/test/platform"
)

// A pod that finds no processors is lent those of frozen instances, in every
// class. They answer as before, without a restart, and have theirs back when there
// is room. No other test runs meanwhile: the node is full.
func TestFrozenInstancesLend(t *testing.T) {
	shell(t)
	ns := namespace(t)
	free, all := freeMillis(t), classes(t)
	asked := free / 4
	for _, class := range all {
		deployWeb(t, "web-"+class, ns, "1s", class, fmt.Sprintf("resources: {requests: {cpu: %dm}}", asked))
	}
	uids := map[string]types.UID{}
	for _, class := range all {
		awaitFrozen(t, ns, "web-"+class, corev1.ConditionTrue)
		uids[class] = instanceOf(t, ns, "web-"+class).UID
	}
	worker := idle("runc")
	worker.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
		// As much as is free, but for a fifth of what the instances took.
		corev1.ResourceCPU: *resource.NewMilliQuantity(freeMillis(t)+asked*int64(len(all))*4/5, resource.DecimalSI),
	}
	worker = running(t, create(t, ns, worker))
	for _, class := range all {
		if err := request(t, "web-"+class, ns); err != nil {
			t.Errorf("class %s: %v", class, err)
		}
		hasBack(t, ns, "web-"+class, asked, func(*corev1.Pod) error { return nil })
	}
	shared.Kubectl(t, "-n", ns, "delete", "pod", worker.Name, "--grace-period=0", "--force")
	for _, class := range all {
		hasBack(t, ns, "web-"+class, asked, func(pod *corev1.Pod) error {
			if got := pod.Status.ContainerStatuses[0].Resources.Requests.Cpu().MilliValue(); got != asked {
				return fmt.Errorf("its node gives it %dm, and it asks for %dm", got, asked)
			}
			return nil
		})
		if pod := instanceOf(t, ns, "web-"+class); pod.UID != uids[class] || pod.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("class %s: instance %s is another one, or was restarted", class, pod.Name)
		}
	}
}

// hasBack waits until an instance asks for all that it did.
func hasBack(t *testing.T, ns, name string, asked int64, and func(*corev1.Pod) error) {
	t.Helper()
	platform.Eventually(t, name+" has back what it lent", func() error {
		pod := instanceOf(t, ns, name)
		if _, lent := pod.Annotations[serving.LentAnnotation]; lent {
			return errors.New("it still lends")
		}
		if got := pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue(); got != asked {
			return fmt.Errorf("it asks for %dm, not for %dm", got, asked)
		}
		return and(pod)
	})
}

// freeMillis is what the node has left of its processors, in thousandths, as the
// scheduler counts.
func freeMillis(t *testing.T) int64 {
	t.Helper()
	nodes, err := shared.Cluster.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := shared.Cluster.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"})
	if err != nil {
		t.Fatal(err)
	}
	free := nodes.Items[0].Status.Allocatable[corev1.ResourceCPU]
	for i := range pods.Items {
		free.Sub(requests.PodRequests(&pods.Items[i], requests.PodResourcesOptions{UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true})[corev1.ResourceCPU])
	}
	return free.MilliValue()
}

// The controller resizes nothing but instances, and of them nothing but the
// processors that they ask for. As an administrator the same writes succeed.
func TestControllerResizesLittle(t *testing.T) {
	ns := namespace(t)
	shell(t)
	deployWeb(t, "web", ns, "never", "runc", "resources: {requests: {cpu: 20m, memory: 10Mi}, limits: {cpu: 100m}}")
	pod := instanceOf(t, ns, "web").Name
	other := idle("runc")
	other.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m")}
	other = create(t, ns, other)
	container := func(name, fields string) string {
		return `{"spec": {"containers": [{"name": "` + name + `", "resources": {` + fields + `}}]}}`
	}
	resize := []string{"resize"}
	asController, asAdministrator := clientAs(t, "redoubt:controller"), clientAs(t, "")
	for _, test := range []struct {
		what, pod, patch string
		subresources     []string
		refusal          string
	}{
		{"processors", pod, container("user-container", `"requests": {"cpu": "2m"}`), resize, ""},
		{"memory", pod, container("user-container", `"requests": {"memory": "11Mi"}`), resize, "nothing but the processors"},
		{"a limit", pod, container("user-container", `"limits": {"cpu": "200m"}`), resize, "nothing but the processors"},
		{"no instance", other.Name, container(other.Spec.Containers[0].Name, `"requests": {"cpu": "2m"}`), resize, "instances of services only"},
		{"a note", pod, `{"metadata": {"annotations": {"redoubt.dev/lent-cpu": "{}"}}}`, nil, ""},
		{"another note", pod, `{"metadata": {"annotations": {"redoubt.dev/other": "{}"}}}`, nil, "nothing else of them"},
	} {
		patch := func(as kubernetes.Interface) error {
			_, err := as.CoreV1().Pods(ns).Patch(t.Context(), test.pod, types.StrategicMergePatchType, []byte(test.patch),
				metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, test.subresources...)
			return err
		}
		if err := patch(asController); test.refusal == "" && err != nil {
			t.Errorf("%s: %v", test.what, err)
		} else if test.refusal != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.refusal)) {
			t.Errorf("%s: %v, want it forbidden with %q", test.what, err, test.refusal)
		}
		if err := patch(asAdministrator); err != nil {
			t.Errorf("%s, as an administrator: %v", test.what, err)
		}
	}
}
