package kube

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// Patience is how long a node may take with a pod's volumes and sandbox, as a rule,
	// before it is asked what it lacks: what is made together with the pod may come
	// a moment later.
	Patience = 10 * time.Second
	// askPause is the longest time until it is asked again.
	askPause = time.Minute
	// recent is for how long a failure counts beside a later one: what a node lacks
	// several of, it tries together.
	recent = 30 * time.Second
)

// failures are the reasons of events that tell why a node does not begin with a
// pod's containers. Its status does not.
var failures = []string{"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "FailedCreatePodContainer", "NetworkNotReady"}

// Why is what keeps a pod from starting; nothing where that is not known.
type Why struct{ Reason, Message string }

// Unstarted finds out why pods do not start: from who keeps the gates that they wait
// at, and why nodes do not begin with them from their events. Those are read of pods
// that have waited for long, and seldom: the API server goes through all events of a
// namespace for that.
type Unstarted struct {
	// Live reads from the API server.
	Live client.Reader
	// Gates says why a pod waits at a gate, empty where that is not known.
	Gates interface{ Why(pod types.UID) string }

	mu    sync.Mutex
	asked map[types.UID]answer // guarded by mu
}

type answer struct {
	why  Why
	next time.Time // when to ask again
}

// Of is why the containers of a pod that its node has had for longer than patience
// have not begun, and after how long to ask again, 0 where that is needless.
func (u *Unstarted) Of(ctx context.Context, pod *corev1.Pod, patience time.Duration, now time.Time) (Why, time.Duration) {
	if c := PodCondition(pod, corev1.PodScheduled); c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonSchedulingGated {
		return u.atGate(pod)
	}
	since, waits := waitsForNode(pod)
	if !waits {
		u.put(pod.UID, answer{}, now)
		return Why{}, 0
	}
	if early := patience - now.Sub(since); early > 0 {
		return Why{}, early
	}
	u.mu.Lock()
	last := u.asked[pod.UID]
	u.mu.Unlock()
	if left := last.next.Sub(now); left > 0 {
		return last.why, left
	}
	pause := min(max(now.Sub(since)/2, Patience/2), askPause)
	why, err := u.ask(ctx, pod, since, now, last.why)
	if err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("a pod's events cannot be read", "pod", client.ObjectKeyFromObject(pod), "error", err.Error())
		why = last.why
	}
	u.put(pod.UID, answer{why: why, next: now.Add(pause)}, now)
	return why, pause
}

// atGate is why a pod waits at one: whoever keeps it may not have got round to it.
func (u *Unstarted) atGate(pod *corev1.Pod) (Why, time.Duration) {
	if message := u.Gates.Why(pod.UID); message != "" {
		return Why{corev1.PodReasonSchedulingGated, message}, askPause
	}
	return Why{}, time.Second
}

// put remembers an answer, and forgets those that nobody has asked for again.
func (u *Unstarted) put(pod types.UID, a answer, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for uid, old := range u.asked {
		if uid == pod || now.Sub(old.next) > 2*askPause {
			delete(u.asked, uid)
		}
	}
	if a.next.IsZero() {
		return
	}
	if u.asked == nil {
		u.asked = map[types.UID]answer{}
	}
	u.asked[pod] = a
}

// waitsForNode says since when a pod has a node that has begun with none of its
// containers.
func waitsForNode(pod *corev1.Pod) (since time.Time, waits bool) {
	placed := PodCondition(pod, corev1.PodScheduled)
	if placed.Status != corev1.ConditionTrue || pod.Status.Phase != corev1.PodPending || PodIs(pod, corev1.PodReadyToStartContainers) {
		return time.Time{}, false
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil {
			return time.Time{}, false
		}
	}
	return placed.LastTransitionTime.Time, true
}

// ask reads the pod's events. A failure that is over is none, unless one was known
// of: a node waits longer and longer before it tries again, at most as long as the
// pod has waited for it.
func (u *Unstarted) ask(ctx context.Context, pod *corev1.Pod, since, now time.Time, known Why) (Why, error) {
	var events corev1.EventList
	err := u.Live.List(ctx, &events, client.InNamespace(pod.Namespace), client.MatchingFields{"involvedObject.uid": string(pod.UID), "type": corev1.EventTypeWarning})
	if err != nil {
		return Why{}, err
	}
	failed := slices.DeleteFunc(events.Items, func(e corev1.Event) bool { return !slices.Contains(failures, e.Reason) })
	var latest time.Time
	for i := range failed {
		if at := lastOf(&failed[i]); at.After(latest) {
			latest = at
		}
	}
	const granularity = 2 * time.Second // of times in events
	if known == (Why{}) && latest.Before(since.Add(now.Sub(since)/2-granularity)) {
		return Why{}, nil
	}
	failed = slices.DeleteFunc(failed, func(e corev1.Event) bool { return latest.Sub(lastOf(&e)) > recent })
	if len(failed) == 0 {
		return known, nil
	}
	// Several are told of in turn: always the same one is said, so that the status
	// stays as it is.
	first := slices.MinFunc(failed, func(a, b corev1.Event) int {
		return cmp.Or(a.FirstTimestamp.Compare(b.FirstTimestamp.Time), strings.Compare(a.Message, b.Message))
	})
	return Why{first.Reason, unnumbered(first.Message)}, nil
}

func lastOf(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	if e.Series != nil && e.Series.LastObservedTime.After(last) {
		last = e.Series.LastObservedTime.Time
	}
	if e.EventTime.After(last) {
		last = e.EventTime.Time
	}
	return last
}

// sandbox is the number of one, which is another at each try.
var sandbox = regexp.MustCompile(` ?"?[0-9a-f]{64}"?`)

func unnumbered(message string) string {
	return sandbox.ReplaceAllString(strings.TrimPrefix(message, "(combined from similar events): "), "")
}
