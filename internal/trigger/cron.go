package trigger

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

const (
	// longestSleep is after how long a trigger is looked at again in any case:
	// timers do not notice that the clock was set.
	longestSleep = 30 * time.Second
	// mostAtOnce is how many calls of one trigger run at a time; those that
	// are due then wait, as with the policy Forbid.
	mostAtOnce = 100
	// cronSource is the namespace of the triggers' events.
	cronSource = "cronjobtrigger.kubeless.io"
)

// cronReconciler makes the calls of CronJobTriggers. A time counts as served
// when its call has ended: a controller that starts after a crash makes the
// last call again, rather than never.
type cronReconciler struct {
	client client.Client
	caller *caller

	mu      sync.Mutex
	running map[types.NamespacedName]run
}

// run is what is under way for a trigger.
type run struct {
	uid   types.UID // one of the same name may come later
	calls int
	last  time.Time // the latest time that has been begun with
}

// AddCron registers the controller of CronJobTriggers, whose calls go to the
// gateway.
func AddCron(mgr ctrl.Manager, gateway netip.AddrPort) error {
	r := &cronReconciler{client: mgr.GetClient(), caller: newCaller(gateway), running: map[types.NamespacedName]run{}}
	return ctrl.NewControllerManagedBy(mgr).
		For(&kubeless.CronJobTrigger{}).
		Watches(&kubeless.Function{}, handler.EnqueueRequestsFromMapFunc(r.of)).
		Complete(r)
}

// of are the triggers of a function.
func (r *cronReconciler) of(ctx context.Context, fn client.Object) []reconcile.Request {
	var list kubeless.CronJobTriggerList
	if err := r.client.List(ctx, &list, client.InNamespace(fn.GetNamespace())); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for _, t := range list.Items {
		if t.Spec.FunctionName == fn.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&t)})
		}
	}
	return requests
}

func (r *cronReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var t kubeless.CronJobTrigger
	err := r.client.Get(ctx, req.NamespacedName, &t)
	if apierrors.IsNotFound(err) {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running, req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil || t.DeletionTimestamp != nil {
		return ctrl.Result{}, err
	}
	times, ready, err := r.examine(ctx, &t)
	if err != nil {
		return ctrl.Result{}, err
	}
	before := t.DeepCopy()
	t.Status.ObservedGeneration = t.Generation
	t.Status.Conditions.Set(ready, metav1.Now())
	now, sleep := time.Now(), longestSleep
	if ready.Status == corev1.ConditionTrue && !t.Spec.Suspend {
		r.serve(ctx, &t, times, now)
		if next := times.next(now); !next.IsZero() {
			sleep = min(sleep, next.Sub(now))
		}
	}
	if !equality.Semantic.DeepEqual(before.Status, t.Status) {
		if err := r.client.Status().Patch(ctx, &t, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	return ctrl.Result{RequeueAfter: sleep}, nil
}

// examine says whether the trigger can call, and when.
func (r *cronReconciler) examine(ctx context.Context, t *kubeless.CronJobTrigger) (schedule, serving.Condition, error) {
	ready := serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
	times, err := scheduleOf(&t.Spec)
	if err != nil {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "ScheduleInvalid", err.Error()
		return times, ready, nil
	}
	err = r.client.Get(ctx, client.ObjectKey{Namespace: t.Namespace, Name: t.Spec.FunctionName}, &kubeless.Function{})
	if apierrors.IsNotFound(err) {
		ready.Status, ready.Reason = corev1.ConditionFalse, "FunctionMissing"
		ready.Message = fmt.Sprintf("There is no function %q in this namespace.", t.Spec.FunctionName)
		return times, ready, nil
	}
	return times, ready, err
}

// serve begins the call that is due, if one is.
func (r *cronReconciler) serve(ctx context.Context, t *kubeless.CronJobTrigger, times schedule, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	under := r.running[client.ObjectKeyFromObject(t)]
	if under.uid != t.UID {
		under = run{uid: t.UID}
	}
	since := t.CreationTimestamp.Time
	if t.Status.LastScheduleTime != nil {
		since = t.Status.LastScheduleTime.Time
	}
	if under.last.After(since) {
		since = under.last
	}
	last, missed := times.due(since, now)
	switch judge(&t.Spec, last, under.calls, now) {
	case tooLate:
		t.Status.Missed += missed + 1
		t.Status.LastScheduleTime = &metav1.MicroTime{Time: last}
	case begin:
		under.calls++
		under.last = last
		r.running[client.ObjectKeyFromObject(t)] = under
		go r.call(context.WithoutCancel(ctx), t.DeepCopy(), last, missed)
	}
}

// verdict is what becomes of a time.
type verdict int

const (
	nothing verdict = iota // it has not come, or waits for the end of a call
	begin
	tooLate
)

// judge says what becomes of the time due, zero if there is none, while so
// many calls run. One that waits is looked at again when a call has ended:
// that is a change of the status.
func judge(spec *kubeless.CronJobTriggerSpec, due time.Time, calls int, now time.Time) verdict {
	limit := spec.StartingDeadlineSeconds
	switch {
	case due.IsZero():
		return nothing
	case limit != nil && now.Sub(due) > time.Duration(*limit)*time.Second:
		return tooLate
	case calls > 0 && spec.ConcurrencyPolicy == kubeless.ForbidConcurrent, calls >= mostAtOnce:
		return nothing
	}
	return begin
}

// call makes one call and records how it went.
func (r *cronReconciler) call(ctx context.Context, t *kubeless.CronJobTrigger, due time.Time, missed int64) {
	e := event{
		namespace: t.Namespace, function: t.Spec.FunctionName, id: uuid.NewString(), source: cronSource, time: due,
		origin: "/namespaces/" + t.Namespace + "/cronjobtriggers/" + t.Name, what: "io.kubeless.cronjobtrigger", kind: kindOf(nil),
	}
	if t.Spec.Payload != nil {
		e.data, e.kind = t.Spec.Payload.Raw, "application/json"
		if c, ok := unpack(e.data); ok { // each time is another event
			e.take(c)
			e.header["ce-id"], e.header["ce-time"] = e.id, due.UTC().Format(time.RFC3339Nano)
		}
	}
	failed := r.caller.call(ctx, e)
	if failed != nil {
		slog.Warn("a call by schedule failed", "namespace", t.Namespace, "trigger", t.Name, "due", due, "error", failed)
	}
	r.ended(t)
	if err := r.record(ctx, t, due, missed, failed); err != nil {
		slog.Error("a call by schedule was made and cannot be recorded", "namespace", t.Namespace, "trigger", t.Name, "due", due, "error", err)
	}
}

// ended counts a call less. What it was due is kept: the recording may fail.
func (r *cronReconciler) ended(t *kubeless.CronJobTrigger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if under, ok := r.running[client.ObjectKeyFromObject(t)]; ok && under.uid == t.UID {
		under.calls--
		r.running[client.ObjectKeyFromObject(t)] = under
	}
}

// record writes into the status that the call of that time has ended.
func (r *cronReconciler) record(ctx context.Context, t *kubeless.CronJobTrigger, due time.Time, missed int64, failed error) error {
	return client.IgnoreNotFound(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var now kubeless.CronJobTrigger
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(t), &now); err != nil || now.UID != t.UID {
			return err
		}
		before := now.DeepCopy()
		s := &now.Status
		if s.LastScheduleTime == nil || s.LastScheduleTime.Time.Before(due) {
			s.LastScheduleTime = &metav1.MicroTime{Time: due}
		}
		s.Missed += missed
		s.LastError = ""
		if failed != nil {
			s.Failed++
			s.LastError = failed.Error()
		} else {
			s.LastSuccessfulTime = &metav1.MicroTime{Time: time.Now()}
		}
		return r.client.Status().Patch(ctx, &now, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}))
}
