// Package revision keeps as many pods of each Revision as its status asks
// for, and says how they are.
//
// Pods are the revision's own, without a Deployment between: two controllers
// less stand between a waiting request and its instance.
package revision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/autoscale"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/tenant/gate"
)

// Spares are instances that wait for a revision to need them.
type Spares interface {
	// Take makes one an instance of rev, with the labels, annotations and owner
	// of pod, which is how a new one would be, and returns its name. It is empty
	// where there is none for rev.
	Take(ctx context.Context, rev *serving.Revision, pod *corev1.Pod) (name string, err error)
}

type reconciler struct {
	client client.Client
	spares Spares
	// live reads from the API server, when the cache does not know yet of pods
	// that this controller has just made.
	live      client.Reader
	unseen    unseen
	unstarted kube.Unstarted
}

// Add registers the controller, which takes instances from spares before it makes
// new ones, and learns from gates why they wait there.
func Add(mgr ctrl.Manager, spares Spares, gates *gate.Waits) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&serving.Revision{}).
		Owns(&corev1.Pod{}).
		Complete(&reconciler{client: mgr.GetClient(), spares: spares, live: mgr.GetAPIReader(), unstarted: kube.Unstarted{Live: mgr.GetAPIReader(), Gates: gates}})
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var rev serving.Revision
	if err := r.client.Get(ctx, req.NamespacedName, &rev); err != nil {
		if apierrors.IsNotFound(err) {
			r.unseen.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if rev.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	before := rev.DeepCopy()
	settings, invalid := autoscale.SettingsOf(&rev)
	if rev.Status.DesiredReplicas == nil {
		initial := settings.Initial
		rev.Status.DesiredReplicas = &initial
	}
	pods, err := pods(ctx, r.client, &rev)
	if err != nil {
		return ctrl.Result{}, err
	}
	scaleErr := invalid
	if invalid == nil {
		scaleErr = r.scale(ctx, &rev, pods)
	}
	now := time.Now()
	whys, soon := r.whys(ctx, &rev, pods, now)
	said := scaleErr
	if invalid == nil && passes(scaleErr) {
		said = nil
	}
	again := report(&rev, pods, whys, said, now)
	if soon > 0 && (again == 0 || soon < again) {
		again = soon
	}
	if !equality.Semantic.DeepEqual(before.Status, rev.Status) {
		if err := r.client.Status().Patch(ctx, &rev, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, err
		}
	}
	if invalid != nil {
		return ctrl.Result{RequeueAfter: again}, nil // the status says why; the owner must act
	}
	if pause := kube.PauseAfter(scaleErr); pause > 0 {
		return ctrl.Result{RequeueAfter: pause}, nil // the status says why
	}
	return ctrl.Result{RequeueAfter: again}, scaleErr
}

// passes says that an error is one of the moment: it is tried again, and says nothing
// of the pods. A revision that has been ready would fail of it, and all who wait for
// its next instance with it.
func passes(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true // the API server cannot be reached
	}
	return apierrors.IsConflict(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}

// pods lists the revision's pods that are not on their way out.
func pods(ctx context.Context, from client.Reader, rev *serving.Revision) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := from.List(ctx, &list, client.InNamespace(rev.Namespace), client.MatchingLabels{serving.RevisionUIDLabel: string(rev.UID)})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }), nil
}

// whys are why a node has not begun with an instance, where there is none yet, and
// after how long to ask again. The oldest one stands for all: they are alike. A
// revision that has been ready has more patience: who waits for its next instance is
// refused once it has failed.
func (r *reconciler) whys(ctx context.Context, rev *serving.Revision, pods []corev1.Pod, now time.Time) (map[types.UID]kube.Why, time.Duration) {
	if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return kube.PodIs(&p, corev1.PodReady) }) {
		return nil, 0
	}
	patience := kube.Patience
	if rev.Status.Conditions.IsTrue(serving.Ready) {
		patience *= 3
	}
	for _, pod := range slices.SortedFunc(slices.Values(pods), oldest) {
		why, again := r.unstarted.Of(ctx, &pod, patience, now)
		switch {
		case again == 0: // it does not wait for a node
		case why == (kube.Why{}):
			return nil, again
		default:
			return map[types.UID]kube.Why{pod.UID: why}, again
		}
	}
	return nil, 0
}

func oldest(a, b corev1.Pod) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

// scale makes or deletes pods until there are as many as wanted, and replaces
// those that have ended.
func (r *reconciler) scale(ctx context.Context, rev *serving.Revision, known []corev1.Pod) error {
	want, key := int(*rev.Status.DesiredReplicas), client.ObjectKeyFromObject(rev)
	if r.unseen.except(key, known) {
		var err error
		if known, err = pods(ctx, r.live, rev); err != nil {
			return err
		}
		r.unseen.only(key, known)
	}
	var running []corev1.Pod
	for _, pod := range known {
		if !hasEnded(pod) {
			running = append(running, pod)
			continue
		}
		if err := r.client.Delete(ctx, &pod); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete ended pod %s: %w", pod.Name, err)
		}
	}
	for range want - len(running) {
		if err := r.add(ctx, rev); err != nil {
			return err
		}
	}
	if surplus := len(running) - want; surplus > 0 {
		slices.SortFunc(running, leastUseful)
		for _, pod := range running[:surplus] {
			if err := r.client.Delete(ctx, &pod); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("delete pod %s: %w", pod.Name, err)
			}
		}
	}
	return nil
}

// add gives rev one more pod.
func (r *reconciler) add(ctx context.Context, rev *serving.Revision) error {
	pod := NewPod(rev)
	name, err := r.spares.Take(ctx, rev, pod)
	if err != nil {
		return err
	}
	if name == "" {
		if err := r.client.Create(ctx, pod); err != nil {
			return fmt.Errorf("make pod: %w", kube.Unnamed(err, pod.GenerateName))
		}
		name = pod.Name
	}
	r.unseen.add(client.ObjectKeyFromObject(rev), name)
	return nil
}

func hasEnded(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// leastUseful orders pods that are not ready before ready ones, and young
// before old: old ones have warm caches.
func leastUseful(a, b corev1.Pod) int {
	if ra, rb := kube.PodIs(&a, corev1.PodReady), kube.PodIs(&b, corev1.PodReady); ra != rb {
		if rb {
			return -1
		}
		return 1
	}
	return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
}

// report fills in the status, and says when to look again.
func report(rev *serving.Revision, pods []corev1.Pod, whys map[types.UID]kube.Why, scaleErr error, now time.Time) time.Duration {
	s := &rev.Status
	s.ObservedGeneration = rev.Generation
	var ready int32
	for _, pod := range pods {
		if kube.PodIs(&pod, corev1.PodReady) {
			ready++
		}
	}
	s.ActualReplicas = &ready
	resolve(rev, pods)
	if *s.DesiredReplicas == 0 && s.Conditions.Get(serving.Ready).Status == corev1.ConditionFalse {
		s.Conditions.Set(active(s, ready), metav1.NewTime(now))
		return 0 // given up: why still holds
	}
	proven := s.Conditions.IsTrue(serving.Ready)
	health := healthOf(pods, whys, scaleErr, proven)
	if !proven {
		health = health.after(s.Conditions.Get(serving.ResourcesAvailable))
	}
	var again time.Duration
	if !proven && health.ok() && ready == 0 && *s.DesiredReplicas > 0 {
		limit := rev.ProgressDeadline()
		left := limit - now.Sub(hopeful(rev, now))
		if again = left; left <= 0 {
			again, health = 0, health.failed(serving.ResourcesAvailable, late, whyLate(rev, pods, health))
		}
	}
	if ready > 0 || *s.DesiredReplicas == 0 && health.ok() {
		health = health.proven()
	} else if proven && health.ok() {
		health = health.proven() // it ran before; its next instance is on the way
	}
	health.set(s, ready, metav1.NewTime(now))
	s.Conditions.Set(rev.Freezable(), metav1.NewTime(now))
	return again
}

// hopeful is since when there has been nothing to say against the revision's getting
// an instance: what it failed of, be it long after it was made, may be over.
func hopeful(rev *serving.Revision, now time.Time) time.Time {
	ready := rev.Status.Conditions.Get(serving.Ready)
	switch {
	case ready.Status == corev1.ConditionFalse && ready.Reason != late:
		return now
	case ready.Status == corev1.ConditionUnknown && ready.LastTransitionTime.After(rev.CreationTimestamp.Time):
		return ready.LastTransitionTime.Time
	}
	return rev.CreationTimestamp.Time
}

// late is the reason of a revision that had no instance in time.
const late = "ProgressDeadlineExceeded"

// whyLate says so, and what is known of why.
func whyLate(rev *serving.Revision, pods []corev1.Pod, h health) string {
	said := fmt.Sprintf("Revision %q did not become ready within %v", rev.Name, rev.ProgressDeadline())
	if why := cmp.Or(h.resources.Message, unready(rev, pods)); why != "" {
		said += ": " + strings.TrimSuffix(why, ".")
	}
	return said + "."
}

// unready says what an instance whose containers run lacks to be ready.
func unready(rev *serving.Revision, pods []corev1.Pod) string {
	for _, pod := range pods {
		for _, c := range pod.Status.ContainerStatuses {
			switch {
			case c.State.Running == nil || c.Ready:
			case isAskedByDefault(rev, c.Name):
				return fmt.Sprintf("the container runs, and does not listen on port %d", rev.Spec.Port())
			default:
				return fmt.Sprintf("the container %q runs, and its probes have not succeeded", c.Name)
			}
		}
	}
	return ""
}

// isAskedByDefault says whether a container has no probe but the one that it is
// given where its owner gives none.
func isAskedByDefault(rev *serving.Revision, name string) bool {
	own := rev.Spec.Serving()
	for i := range rev.Spec.Containers {
		if containerName(rev, i) == name {
			return &rev.Spec.Containers[i] == own && own.ReadinessProbe == nil && own.StartupProbe == nil
		}
	}
	return false
}
