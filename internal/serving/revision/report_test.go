package revision

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// crashing is a pod whose container ends at once, again and again.
func crashing() corev1.Pod {
	return corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}},
		RestartCount:         3,
	}}}}
}

// A revision that was given up says what it failed of, while its pods go and
// after; one that was scaled to zero because nobody needs it is ready.
func TestReportOfZero(t *testing.T) {
	var one, zero int32 = 1, 0
	for _, test := range []struct {
		name   string
		before []corev1.Pod
		age    time.Duration
		status corev1.ConditionStatus
		reason string
	}{
		{"crashed", []corev1.Pod{crashing()}, time.Minute, corev1.ConditionFalse, "ExitCode1"},
		{"too slow", []corev1.Pod{{}}, time.Hour, corev1.ConditionFalse, "ProgressDeadlineExceeded"},
		{"served", []corev1.Pod{{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}}, time.Minute, corev1.ConditionTrue, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now.Add(-test.age))}}
			rev.Status.DesiredReplicas = &one
			report(rev, test.before, nil, nil, now)
			rev.Status.DesiredReplicas = &zero
			for _, pods := range [][]corev1.Pod{test.before, nil} {
				report(rev, pods, nil, nil, now.Add(time.Minute))
				if c := rev.Status.Conditions.Get(serving.Ready); c.Status != test.status || c.Reason != test.reason {
					t.Errorf("with %d pods left: %s %s, want %s %s", len(pods), c.Status, c.Reason, test.status, test.reason)
				}
				if c := rev.Status.Conditions.Get(serving.Active); c.Status != corev1.ConditionFalse {
					t.Errorf("active: %s", c.Status)
				}
			}
		})
	}
}

// A revision that has served is there while the kubelet starts its container
// again, and has failed when that goes on and on.
func TestReportOfACrash(t *testing.T) {
	var one int32 = 1
	rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
	rev.Status.DesiredReplicas = &one
	ready := corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	report(rev, []corev1.Pod{ready}, nil, nil, now)
	again := crashing()
	again.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for _, step := range []struct {
		name string
		pod  corev1.Pod
		want corev1.ConditionStatus
	}{{"once", again, corev1.ConditionTrue}, {"again and again", crashing(), corev1.ConditionFalse}, {"a new attempt", again, corev1.ConditionFalse}} {
		report(rev, []corev1.Pod{step.pod}, nil, nil, now)
		if c := rev.Status.Conditions.Get(serving.Ready); c.Status != step.want {
			t.Errorf("%s: ready is %s %s, want %s", step.name, c.Status, c.Reason, step.want)
		}
	}
}

// What is known of a container's end is said, and the same while the kubelet tries
// again as between two attempts.
func TestReportOfAnEnd(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "no such file"}}
	}
	for _, test := range []struct {
		name            string
		states          []corev1.ContainerState
		last            *corev1.ContainerStateTerminated
		reason, message string
	}{
		{"short of memory", []corev1.ContainerState{waiting("CrashLoopBackOff")},
			&corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", Message: "starting\n"}, "ExitCode137", "Container failed with: OOMKilled: starting"},
		{"no command", []corev1.ContainerState{waiting("RunContainerError"), waiting("CrashLoopBackOff"), waiting("RunContainerError")},
			&corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: "no such file"}, "ExitCode128", "Container failed with: no such file"},
		{"no command, for the first time", []corev1.ContainerState{waiting("RunContainerError")}, nil, "RunContainerError", "no such file"},
	} {
		for _, state := range test.states {
			pod := crashing()
			pod.Status.ContainerStatuses[0].State, pod.Status.ContainerStatuses[0].LastTerminationState.Terminated = state, test.last
			rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
			rev.Status.DesiredReplicas = new(int32(1))
			report(rev, []corev1.Pod{pod}, nil, nil, now)
			if c := rev.Status.Conditions.Get(serving.Ready); c.Reason != test.reason || c.Message != test.message {
				t.Errorf("%s: %s, %q, want %s, %q", test.name, c.Reason, c.Message, test.reason, test.message)
			}
		}
	}
}

// An instance that took more than it may is gone at once, and why stays said until
// another one is ready. One that has been ready is there while it is replaced.
func TestReportOfAnEviction(t *testing.T) {
	evicted := corev1.Pod{Status: corev1.PodStatus{
		Phase: corev1.PodFailed, Reason: "Evicted", Message: "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ",
		ContainerStatuses: []corev1.ContainerStatus{{
			RestartCount:         1,
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "it could not be located"}},
		}},
	}}
	rejected := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfcpu", Message: "Node didn't have enough resource: cpu"}}
	ready := corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
	rev.Status.DesiredReplicas = new(int32(1))
	for _, step := range []struct {
		name            string
		pods            []corev1.Pod
		status          corev1.ConditionStatus
		reason, message string
	}{
		{"rejected", []corev1.Pod{rejected}, corev1.ConditionUnknown, "OutOfcpu", "enough resource: cpu"},
		{"evicted", []corev1.Pod{evicted}, corev1.ConditionFalse, "Evicted", `exceeds the limit "1Mi".`},
		{"none yet", nil, corev1.ConditionFalse, "Evicted", `exceeds the limit "1Mi".`},
		{"another one", []corev1.Pod{{}}, corev1.ConditionFalse, "Evicted", `exceeds the limit "1Mi".`},
		{"it crashes", []corev1.Pod{crashing()}, corev1.ConditionFalse, "ExitCode1", "failed with: Error"},
		{"evicted again", []corev1.Pod{evicted}, corev1.ConditionFalse, "Evicted", `exceeds the limit "1Mi".`},
		{"ready", []corev1.Pod{ready}, corev1.ConditionTrue, "", ""},
		{"evicted later", []corev1.Pod{evicted}, corev1.ConditionTrue, "", ""},
	} {
		report(rev, step.pods, nil, nil, now)
		c := rev.Status.Conditions.Get(serving.Ready)
		if c.Status != step.status || c.Reason != step.reason || !strings.HasSuffix(c.Message, step.message) {
			t.Errorf("%s: %s %s, %q", step.name, c.Status, c.Reason, c.Message)
		}
	}
}

// What an instance waits for is said of the revision as a whole, and still where it
// has waited for too long.
func TestReportOfAWait(t *testing.T) {
	gated := corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated}}}}
	deaf := corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: serving.UserContainer, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}}}
	probed := &serving.Probe{HTTPGet: &serving.HTTPGetAction{Path: "/ready"}}
	for _, test := range []struct {
		name            string
		pod             corev1.Pod
		probe           *serving.Probe
		now, afterwards string
	}{
		{"for room", gated, nil, "waits for its turn in the tenant's quota", "within 10m0s: An instance waits for its turn"},
		{"deaf", deaf, nil, "", "within 10m0s: the container runs, and does not listen on port 8080."},
		{"unwell", deaf, probed, "", `within 10m0s: the container "user-container" runs, and its probes have not succeeded.`},
		{"new", corev1.Pod{}, nil, "", "within 10m0s."},
	} {
		rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
		rev.Spec.Containers = []serving.Container{{ReadinessProbe: test.probe}}
		rev.Status.DesiredReplicas = new(int32(1))
		report(rev, []corev1.Pod{test.pod}, nil, nil, now)
		if c := rev.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionUnknown || !strings.Contains(c.Message, test.now) {
			t.Errorf("%s: %+v", test.name, c)
		}
		for range 2 {
			report(rev, []corev1.Pod{test.pod}, nil, nil, now.Add(time.Hour))
			if c := rev.Status.Conditions.Get(serving.Ready); c.Reason != "ProgressDeadlineExceeded" || !strings.Contains(c.Message, test.afterwards) {
				t.Errorf("%s, in the end: %+v", test.name, c)
			}
		}
	}
}

// What the node says of an instance that it does not begin with is said, and no more
// once another word is known.
func TestReportOfAnUnstartedPod(t *testing.T) {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}}
	whys := map[types.UID]kube.Why{"u": {Reason: "FailedMount", Message: `configmap "nope" not found`}}
	rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
	rev.Status.DesiredReplicas = new(int32(1))
	report(rev, []corev1.Pod{pod}, whys, nil, now)
	if c := rev.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionFalse || c.Reason != "FailedMount" || c.Message != `configmap "nope" not found` {
		t.Errorf("ready: %+v", c)
	}
	report(rev, []corev1.Pod{pod}, nil, nil, now)
	if c := rev.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionUnknown {
		t.Errorf("once it has begun: %+v", c)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated}}
	whys["u"] = kube.Why{Reason: corev1.PodReasonSchedulingGated, Message: "2 of 2 are taken"}
	report(rev, []corev1.Pod{pod}, whys, nil, now)
	if c := rev.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionUnknown || c.Message != "2 of 2 are taken" {
		t.Errorf("at a gate: %+v", c)
	}
}

// A revision that failed long after it was made, of something that is over, has its
// time to become ready again.
func TestReportOfARecovery(t *testing.T) {
	rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
	rev.Status.DesiredReplicas = new(int32(1))
	ready := corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	unplaced := corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}}}
	for _, step := range []struct {
		at     time.Duration
		pod    corev1.Pod
		status corev1.ConditionStatus
		reason string
	}{
		{0, ready, corev1.ConditionTrue, ""},
		{time.Hour, unplaced, corev1.ConditionFalse, "Unschedulable"},
		{2 * time.Hour, corev1.Pod{}, corev1.ConditionUnknown, "Deploying"},
		{2*time.Hour + 9*time.Minute, corev1.Pod{}, corev1.ConditionUnknown, "Deploying"},
		{2*time.Hour + 10*time.Minute, corev1.Pod{}, corev1.ConditionFalse, "ProgressDeadlineExceeded"},
		{2*time.Hour + 11*time.Minute, corev1.Pod{}, corev1.ConditionFalse, "ProgressDeadlineExceeded"},
		{3 * time.Hour, ready, corev1.ConditionTrue, ""},
	} {
		report(rev, []corev1.Pod{step.pod}, nil, nil, now.Add(step.at))
		if c := rev.Status.Conditions.Get(serving.Ready); c.Status != step.status || c.Reason != step.reason {
			t.Errorf("after %v: %s %s, want %s %s", step.at, c.Status, c.Reason, step.status, step.reason)
		}
	}
}
