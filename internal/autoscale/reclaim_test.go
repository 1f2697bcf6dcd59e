package autoscale

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/load"
)

func podOn(node, cpu, memory string) corev1.Pod {
	p := corev1.Pod{Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{}}}}
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
	}
	return p
}

// Those give way that have what is lacking, where it is lacking, and no more
// of them than needed.
func TestRoomIsMadeByTheFewest(t *testing.T) {
	node := &corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("6"),
	}}}
	var all []idle
	for i, pod := range []corev1.Pod{podOn("a", "0", "1Gi"), podOn("b", "2", "4Gi"), podOn("a", "500m", "64Mi"), podOn("a", "500m", "64Mi")} {
		all = append(all, idle{revision: &serving.Revision{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}}, pods: []corev1.Pod{pod}})
	}
	there := []corev1.Pod{podOn("a", "900m", "1Gi"), all[0].pods[0], all[2].pods[0], all[3].pods[0], podOn("a", "2", "4Gi")}
	there[4].Status.Phase = corev1.PodSucceeded
	for name, test := range map[string]struct {
		pod  corev1.Pod
		want []string
	}{
		"fits":                   {podOn("", "100m", "64Mi"), nil},
		"a little too much":      {podOn("", "200m", "64Mi"), []string{"2"}},
		"twice as much":          {podOn("", "1", "64Mi"), []string{"2", "3"}},
		"too much of all":        {podOn("", "1500m", "64Mi"), nil},
		"memory":                 {podOn("", "0", "2Gi"), []string{"0"}},
		"memory and processors":  {podOn("", "200m", "2Gi"), []string{"0", "2"}},
		"more than the node has": {podOn("", "3", "64Mi"), nil},
	} {
		var got []string
		for _, i := range enough(lacking(node, there, &test.pod), "a", all) {
			got = append(got, i.revision.Name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v give way, want %v", name, got, test.want)
		}
	}
	node.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("4")
	small := podOn("", "0", "0")
	if got := enough(lacking(node, there, &small), "a", all); len(got) != 1 {
		t.Errorf("on a node with no place left %d give way, want 1", len(got))
	}
}

func TestRoomIsSoughtWhereThePodMayRun(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"disk": "fast"}}}
	pod := podOn("", "1", "1Gi")
	pod.Spec.NodeSelector = map[string]string{"disk": "fast"}
	tainted := node.DeepCopy()
	tainted.Spec.Taints = []corev1.Taint{{Key: "only", Effect: corev1.TaintEffectNoSchedule}}
	other := &corev1.Node{}
	if !admits(node, &pod) || admits(other, &pod) || admits(tainted, &pod) {
		t.Errorf("admitted: by its node %t, by another %t, by a tainted one %t", admits(node, &pod), admits(other, &pod), admits(tainted, &pod))
	}
}

func TestRoomIsMadeByThoseThatRest(t *testing.T) {
	frozen := func(status corev1.ConditionStatus, seconds int) corev1.Pod {
		return corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: serving.PodFrozen, Status: status, LastTransitionTime: metav1.NewTime(start.Add(time.Duration(seconds) * time.Second)),
		}}}}
	}
	for name, test := range map[string]struct {
		pods []corev1.Pod
		want bool
	}{
		"none":       {nil, false},
		"frozen":     {[]corev1.Pod{frozen(corev1.ConditionTrue, 1), frozen(corev1.ConditionTrue, 5)}, true},
		"one is not": {[]corev1.Pod{frozen(corev1.ConditionTrue, 1), frozen(corev1.ConditionFalse, 5)}, false},
		"one is new": {[]corev1.Pod{frozen(corev1.ConditionTrue, 1), {}}, false},
		"one leaves": {[]corev1.Pod{{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: start}}, Status: frozen(corev1.ConditionTrue, 1).Status}}, false},
	} {
		since, got := restingSince(test.pods)
		if got != test.want || got && !since.Equal(start.Add(5*time.Second)) {
			t.Errorf("%s: %t since %v", name, got, since)
		}
	}
}

// What lacks of processors alone is lent, of the longest frozen first.
func TestFrozenLendProcessors(t *testing.T) {
	instance := func(cpu string, seconds int, change func(*corev1.Pod)) corev1.Pod {
		p := podOn("a", cpu, "1Gi")
		p.Status.QOSClass = corev1.PodQOSBurstable
		p.Status.Conditions = []corev1.PodCondition{{
			Type: serving.PodFrozen, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(start.Add(time.Duration(seconds) * time.Second)),
		}}
		change(&p)
		return p
	}
	as := func(*corev1.Pod) {}
	pods := []corev1.Pod{
		instance("500m", 3, as),
		instance("400m", 1, as),
		instance("1", 0, func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSGuaranteed }),
		instance("1", 0, func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }),
		instance("1", 0, func(p *corev1.Pod) { p.Annotations = map[string]string{serving.LentAnnotation: "{}"} }),
		instance("1", 0, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: start} }),
		instance("0", 0, as),
	}
	for name, test := range map[string]struct {
		lacks corev1.ResourceList
		node  string
		want  []string
	}{
		"a little":        {corev1.ResourceList{"cpu": resource.MustParse("360m")}, "a", []string{"400m"}},
		"more":            {corev1.ResourceList{"cpu": resource.MustParse("361m")}, "a", []string{"400m", "500m"}},
		"too much":        {corev1.ResourceList{"cpu": resource.MustParse("811m")}, "a", nil},
		"memory as well":  {corev1.ResourceList{"cpu": resource.MustParse("1m"), "memory": resource.MustParse("1")}, "a", nil},
		"of another node": {corev1.ResourceList{"cpu": resource.MustParse("1m")}, "b", nil},
		"nothing":         {corev1.ResourceList{}, "a", nil},
	} {
		var got []string
		for _, l := range enough(test.lacks, test.node, lendersOf(pods)) {
			got = append(got, l.pod.Spec.Containers[0].Resources.Requests.Cpu().String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: those that ask for %v lend, want %v", name, got, test.want)
		}
	}
}

// What made room and stays, as on a node that is gone, is not waited for without
// end.
func TestRoomIsAwaitedForAWhile(t *testing.T) {
	s := &Scaler{reclaimed: map[types.UID]time.Time{"stays": start, "gone": start}, lent: map[types.UID]time.Time{}}
	pods := []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{UID: "stays"}}}
	if !s.awaits(pods, start.Add(reclaimLimit)) {
		t.Error("what stays is not waited for")
	}
	if s.awaits(pods, start.Add(reclaimLimit+time.Second)) {
		t.Error("what stays is waited for without end")
	}
}

// paged hands out pods in pages, as the API server does.
type paged struct {
	client.Reader
	pods []corev1.Pod
}

func (p paged) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	from, _ := strconv.Atoi(o.Continue)
	to := min(from+int(o.Limit), len(p.pods))
	page := list.(*corev1.PodList)
	if page.Items = p.pods[from:to]; to < len(p.pods) {
		page.Continue = strconv.Itoa(to)
	}
	return nil
}

// Pods that wait for something else, and many of one namespace, do not hide
// those that others have.
func TestManyThatWaitHideNoOthers(t *testing.T) {
	pod := func(namespace, reason string) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason}}
		return p
	}
	var pods []corev1.Pod
	pods = append(pods, slices.Repeat([]corev1.Pod{pod("a", corev1.PodReasonSchedulingGated)}, 3*unplacedPage)...)
	pods = append(pods, slices.Repeat([]corev1.Pod{pod("b", corev1.PodReasonUnschedulable)}, 3*unplacedPage)...)
	pods = append(pods, pod("c", corev1.PodReasonUnschedulable))
	found, err := (&Scaler{Live: paged{pods: pods}}).unplaced(t.Context())
	of := map[string]int{}
	for i := range found {
		of[found[i].Namespace]++
	}
	if want := map[string]int{"b": maxOfOne, "c": 1}; err != nil || !maps.Equal(of, want) {
		t.Errorf("found %v, %v; want %v", of, err, want)
	}
}

// A revision does not make room while its scale is held, or its instances would
// be made again at once.
func TestRoomIsNotMadeByThoseThatAreWanted(t *testing.T) {
	for name, delay := range map[string]time.Duration{"without a delay": 0, "with one": 10 * time.Minute} {
		s := Settings{Target: 1, Activation: 1, Stable: time.Minute, Panic: 6 * time.Second, PanicThreshold: 2, ScaleDownDelay: delay, Retention: time.Hour}
		tracker := NewTracker(start)
		tracker.Report(load.RevisionLoad{Concurrency: 1}, start)
		for at := time.Duration(0); at < 20*time.Minute; at += Tick {
			now := start.Add(at)
			tracker.Want(s, 1, 1, false, now)
			quiet := tracker.Quiet(s, now)
			again := *tracker
			if back := again.Want(s, 0, 1, false, now); quiet != (back == 0) {
				t.Fatalf("%s: after %v quiet is %t, and of none wanted %d are", name, at, quiet, back)
			}
		}
		if !tracker.Quiet(s, start.Add(20*time.Minute)) {
			t.Errorf("%s: it is never quiet", name)
		}
	}
}
