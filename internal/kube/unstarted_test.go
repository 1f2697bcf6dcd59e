package kube

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// told are a pod's events.
type told struct {
	client.Reader
	events []corev1.Event
	reads  int
}

func (r *told) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	r.reads++
	list.(*corev1.EventList).Items = append([]corev1.Event(nil), r.events...)
	return nil
}

var placed = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func failure(reason, message string, first, last time.Duration) corev1.Event {
	return corev1.Event{Reason: reason, Message: message, FirstTimestamp: metav1.NewTime(placed.Add(first)), LastTimestamp: metav1.NewTime(placed.Add(last))}
}

func unstarted() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Status: corev1.PodStatus{
		Phase:             corev1.PodPending,
		Conditions:        []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(placed)}},
		ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}},
	}}
}

// Why a pod does not start is asked seldom, said in the same words, and forgotten
// once it does.
func TestUnstarted(t *testing.T) {
	r := &told{}
	u := &Unstarted{Live: r}
	of := func(after time.Duration, message string, reads int) time.Duration {
		t.Helper()
		why, again := u.Of(t.Context(), unstarted(), Patience, placed.Add(after))
		if why.Message != message || r.reads != reads || again <= 0 || again > askPause {
			t.Errorf("after %v: %+v, again after %v, %d reads, want %q, %d reads", after, why, again, r.reads, message, reads)
		}
		return again
	}
	const second, missing = time.Second, `configmap "nope" not found`
	r.events = []corev1.Event{failure("FailedMount", "it comes", 0, 2*second)}
	of(5*second, "", 0)
	of(10*second, "", 1) // it has come meanwhile
	of(11*second, "", 1)
	r.events = []corev1.Event{failure("FailedMount", missing, 1, 15*second), failure("FailedMount", "another", 2, 15*second), failure("FailedScheduling", "no room", 0, 15*second)}
	again := of(16*second, missing, 2)
	r.events[1].LastTimestamp.Time = r.events[1].LastTimestamp.Add(second)
	of(17*second, missing, 2)
	of(16*second+again, missing, 3)
	of(10*time.Minute, missing, 4) // it is tried seldom by now
	r.events[1].LastTimestamp = metav1.NewTime(placed.Add(12 * time.Minute))
	of(12*time.Minute, "another", 5)

	begun := unstarted()
	begun.Status.Conditions = append(begun.Status.Conditions, corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue})
	if why, again := u.Of(t.Context(), begun, Patience, placed.Add(13*time.Minute)); why != (Why{}) || again != 0 || len(u.asked) > 0 {
		t.Errorf("a pod that has begun: %+v, again after %v, %d remembered", why, again, len(u.asked))
	}
	of(14*time.Minute, "another", 6)
	if u.put("other", answer{next: placed.Add(time.Hour)}, placed.Add(time.Hour)); len(u.asked) != 1 {
		t.Errorf("%d remembered", len(u.asked))
	}
}

type gates struct{ why string }

func (g *gates) Why(types.UID) string { return g.why }

// A pod that waits at a gate is asked about until it is known why.
func TestAtGate(t *testing.T) {
	g := &gates{}
	u := &Unstarted{Gates: g}
	pod := unstarted()
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated}}
	if why, again := u.Of(t.Context(), pod, Patience, placed); why != (Why{}) || again != time.Second {
		t.Errorf("before: %+v, again after %v", why, again)
	}
	g.why = "no room"
	if why, again := u.Of(t.Context(), pod, Patience, placed); why != (Why{corev1.PodReasonSchedulingGated, "no room"}) || again != askPause {
		t.Errorf("%+v, again after %v", why, again)
	}
}

func TestUnnumbered(t *testing.T) {
	id := strings.Repeat("0a", 32)
	const want = "Failed to create pod sandbox: unable to get OCI runtime for sandbox: no runtime"
	if got := unnumbered(`(combined from similar events): Failed to create pod sandbox: unable to get OCI runtime for sandbox "` + id + `": no runtime`); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
