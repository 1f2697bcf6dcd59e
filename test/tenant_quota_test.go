package test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/test/platform"
)

// waits says whether a pod waits for room in its tenant's quota.
func waits(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == redoubt.QuotaGate })
}

// TestTenantsNamespacesShareAQuota makes, at the same time, as many pods in each
// of two namespaces as the tenant may have: half of them wait, until there is
// room, and nobody but the controller lets them through.
func TestTenantsNamespacesShareAQuota(t *testing.T) {
	const name = "tenant-shares"
	most := int64(2)
	newTenant(t, name, redoubt.TenantSpec{Floor: "process", DefaultClass: "runc", Quota: redoubt.TenantQuota{Pods: &most}})
	second := namespace(t)
	shared.Kubectl(t, "label", "namespace", second, redoubt.TenantLabel+"="+name)
	settledIn(t, name, second)
	var making sync.WaitGroup
	for _, ns := range []string{name, second} {
		for range most {
			making.Go(func() {
				if _, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), plain(), metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	making.Wait()
	pods := func() (through, waiting []corev1.Pod) {
		for _, ns := range []string{name, second} {
			list, err := shared.Cluster.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, pod := range list.Items {
				if waits(&pod) {
					waiting = append(waiting, pod)
				} else {
					through = append(through, pod)
				}
			}
		}
		return through, waiting
	}
	become := func(through, waiting int) {
		t.Helper()
		platform.Eventually(t, "pods start as far as there is room", func() error {
			now, later := pods()
			if len(now) > through {
				t.Fatalf("%d pods are let through, may %d", len(now), through)
			}
			if len(now) != through || len(later) != waiting {
				return fmt.Errorf("%d are let through, %d wait", len(now), len(later))
			}
			return nil
		})
	}
	become(2, 2)
	through, waiting := pods()
	for i := range through {
		running(t, &through[i])
	}
	if why := event(t, &waiting[0], "TenantQuota"); !strings.Contains(why, `tenant "`+name+`"`) || !strings.Contains(why, "2 of 2 are taken") {
		t.Errorf("the event says %q", why)
	}
	forged := waiting[0].DeepCopy()
	forged.Spec.SchedulingGates = nil
	if _, err := shared.Cluster.CoreV1().Pods(forged.Namespace).Update(t.Context(), forged, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "spec.schedulingGates") {
		t.Errorf("somebody takes the gate off: %v", err)
	}
	mustForbid(t, name, plain(), "exceeded quota", "pods")
	shared.Kubectl(t, "-n", through[0].Namespace, "delete", "pod", through[0].Name, "--grace-period=1")
	become(2, 1)
	shared.Redoubt(t, "tenant", "update", name, "--pods=3")
	become(3, 0)
	// What leaves the tenant waits for nothing of it.
	late := create(t, second, plain())
	if !waits(late) {
		t.Fatal("a pod beyond the quota does not wait")
	}
	shared.Redoubt(t, "tenant", "update", name, "--namespaces="+second+"-")
	running(t, late)
}

// TestLimitsOfNothing asks for limits of 0, which Kubernetes counts as limits and
// no node keeps: none of what a tenant's quota counts, and none of disk anywhere.
func TestLimitsOfNothing(t *testing.T) {
	const bounded, free = "tenant-limited", "tenant-unlimited"
	newTenant(t, bounded, redoubt.TenantSpec{Floor: "process", DefaultClass: "runc", Quota: redoubt.TenantQuota{CPU: quantity("4"), Memory: quantity("4Gi")}})
	newTenant(t, free, redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"})
	limited := func(name corev1.ResourceName, amount string) corev1.ResourceRequirements {
		none := corev1.ResourceList{name: *quantity(amount)}
		return corev1.ResourceRequirements{Limits: none, Requests: corev1.ResourceList{name: *quantity("0")}}
	}
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	for _, test := range []struct {
		ns, amount string
		name       corev1.ResourceName
		refused    bool
	}{
		{bounded, "1m", corev1.ResourceCPU, false},
		{bounded, "0", corev1.ResourceCPU, true},
		{bounded, "0Mi", corev1.ResourceMemory, true},
		{bounded, "0", corev1.ResourceEphemeralStorage, true},
		{free, "0", corev1.ResourceCPU, false},
		{free, "0", corev1.ResourceEphemeralStorage, true},
	} {
		for _, initial := range []bool{false, true} {
			pod := plain()
			if initial {
				pod.Spec.InitContainers = slices.Clone(pod.Spec.Containers)
				pod.Spec.InitContainers[0].Name, pod.Spec.InitContainers[0].Resources = "initial", limited(test.name, test.amount)
			} else {
				pod.Spec.Containers[0].Resources = limited(test.name, test.amount)
			}
			_, err := shared.Cluster.CoreV1().Pods(test.ns).Create(t.Context(), pod, dry)
			if !test.refused && err != nil {
				t.Errorf("%s, %s of %s: %v", test.ns, test.amount, test.name, err)
			}
			if test.refused && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "a limit of 0 is none")) {
				t.Errorf("%s, %s of %s: %v, want it forbidden", test.ns, test.amount, test.name, err)
			}
		}
	}
}

// TestLargeObjectsAreFew fills a tenant's namespace with small objects: then a
// large one is refused, and one that was there may be changed and not grow.
func TestLargeObjectsAreFew(t *testing.T) {
	const name, few = "tenant-heavy", 200
	newTenant(t, name, redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"})
	maps := shared.Cluster.CoreV1().ConfigMaps(name)
	of := func(name string, bytes int) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, BinaryData: map[string][]byte{"part": make([]byte, bytes)}}
	}
	large, err := maps.Create(t.Context(), of("large", 1_000_000), metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("a large one among few: %v", err)
	}
	var making sync.WaitGroup
	for worker := range 8 {
		making.Go(func() {
			for i := worker; i < few; i += 8 {
				if _, err := maps.Create(t.Context(), of(fmt.Sprintf("small-%d", i), 100), metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	making.Wait()
	platform.Eventually(t, "a large one among many is refused", func() error {
		_, err := maps.Create(t.Context(), of("another", 60_000), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "at most 65536 bytes") {
			return fmt.Errorf("answered %v", err)
		}
		return nil
	})
	if _, err := maps.Create(t.Context(), of("another", 45_000), metav1.CreateOptions{}); err != nil {
		t.Errorf("a small one among many: %v", err)
	}
	large.BinaryData["part"] = large.BinaryData["part"][:999_000]
	if large, err = maps.Update(t.Context(), large, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("the large one is made smaller: %v", err)
	}
	large.BinaryData["more"] = make([]byte, 10_000)
	if _, err = maps.Update(t.Context(), large, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the large one is made larger: %v", err)
	}
}
