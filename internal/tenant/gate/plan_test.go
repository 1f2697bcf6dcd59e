package gate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

func pod(uid, cpu string, gated bool) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: uid, UID: types.UID(uid)}}
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("1Gi"), corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")}}}}
	p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	if gated {
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "other"}, {Name: redoubt.QuotaGate}}
	}
	return p
}

func names(pods []*corev1.Pod) string {
	var all []string
	for _, p := range pods {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func TestPlan(t *testing.T) {
	cpu, memory, disk, count := resource.MustParse("2"), resource.MustParse("8Gi"), resource.MustParse("1500Mi"), int64(3)
	for _, test := range []struct {
		name       string
		quota      redoubt.TenantQuota
		pods       []corev1.Pod
		through    map[types.UID]bool
		open, wait string
	}{
		{"room", redoubt.TenantQuota{CPU: &cpu}, []corev1.Pod{pod("a", "1", false), pod("b", "800m", true)}, nil, "b", ""},
		{"overhead counts", redoubt.TenantQuota{CPU: &cpu}, []corev1.Pod{pod("a", "1", false), pod("b", "900m", true)}, nil, "", "b limits.cpu"},
		{"the oldest first", redoubt.TenantQuota{Pods: &count}, []corev1.Pod{pod("a", "1", false), pod("b", "1", true), pod("c", "1", true), pod("d", "1", true)}, nil, "b c", "d pods"},
		{"smaller ones pass", redoubt.TenantQuota{CPU: &cpu}, []corev1.Pod{pod("a", "1", false), pod("b", "1", true), pod("c", "500m", true)}, nil, "c", "b limits.cpu"},
		{"disk", redoubt.TenantQuota{EphemeralStorage: &disk}, []corev1.Pod{pod("a", "1", false), pod("b", "1", true)}, nil, "", "b limits.ephemeral-storage"},
		{"no bound", redoubt.TenantQuota{}, []corev1.Pod{pod("a", "999", true)}, nil, "a", ""},
		{"not of what lacks none", redoubt.TenantQuota{Memory: &memory}, []corev1.Pod{pod("a", "99", true)}, nil, "a", ""},
		{"through, but not seen yet", redoubt.TenantQuota{CPU: &cpu}, []corev1.Pod{pod("a", "1", true), pod("b", "1", true)}, map[types.UID]bool{"a": true}, "", "b limits.cpu"},
		{"not confirmed", redoubt.TenantQuota{CPU: &cpu}, []corev1.Pod{pod("a", "1", true), pod("b", "1", true)}, map[types.UID]bool{"a": false}, "a", "b limits.cpu"},
		{"a lowered quota ends nothing", redoubt.TenantQuota{CPU: &cpu}, []corev1.Pod{pod("a", "4", false), pod("b", "1m", true)}, nil, "", "b limits.cpu"},
		{"no number is too large", redoubt.TenantQuota{CPU: &cpu}, []corev1.Pod{pod("a", "9e18", false), pod("b", "9e18", true)}, nil, "", "b limits.cpu"},
	} {
		open, wait := plan(Hard(&test.quota), test.pods, test.through)
		var waits []string
		for _, w := range wait {
			waits = append(waits, w.pod.Name+" "+string(w.lacking))
			if why := w.why("acme"); !strings.Contains(why, `tenant "acme"`) || !strings.Contains(why, string(w.lacking)) {
				t.Errorf("%s: %s", test.name, why)
			}
		}
		if names(open) != test.open || strings.Join(waits, ", ") != test.wait {
			t.Errorf("%s: opened %q, waiting %q, want %q and %q", test.name, names(open), waits, test.open, test.wait)
		}
	}
}

// TestNeverTooMany makes and ends pods while what is known of them is late by
// any time: no more than the quota are ever through, and in the end as many.
func TestNeverTooMany(t *testing.T) {
	const most = 5
	quota := int64(most)
	hard := Hard(&redoubt.TenantQuota{Pods: &quota})
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		var real, seen []corev1.Pod
		through := map[types.UID]bool{}
		step := func() {
			open, _ := plan(hard, seen, through)
			now := map[types.UID]bool{}
			for i := range seen {
				if done, ok := through[seen[i].UID]; ok && gated(&seen[i]) {
					now[seen[i].UID] = done
				}
			}
			for _, p := range open {
				at := slices.IndexFunc(real, func(r corev1.Pod) bool { return r.UID == p.UID })
				now[p.UID] = random.IntN(4) > 0 // some answers get lost
				if at >= 0 && (now[p.UID] || random.IntN(2) == 0) {
					real[at].Spec.SchedulingGates = nil
				}
			}
			through = now
			running := 0
			for i := range real {
				if !gated(&real[i]) {
					running++
				}
			}
			if running > most {
				t.Fatalf("seed %d: %d pods run, may %d", seed, running, most)
			}
		}
		for n := range 200 {
			switch random.IntN(4) {
			case 0, 1:
				real = append(real, pod(fmt.Sprint(n), "1m", true))
			case 2:
				if len(real) > 0 {
					at := random.IntN(len(real))
					real = slices.Delete(slices.Clone(real), at, at+1)
				}
			}
			if random.IntN(3) == 0 {
				seen = slices.Clone(real)
			}
			step()
		}
		for range 50 {
			seen = slices.Clone(real)
			step()
		}
		running := len(slices.DeleteFunc(slices.Clone(real), func(p corev1.Pod) bool { return gated(&p) }))
		if running != min(most, len(real)) {
			t.Errorf("seed %d: %d of %d pods run, may %d", seed, running, len(real), most)
		}
	}
}
