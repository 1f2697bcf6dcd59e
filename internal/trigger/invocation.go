package trigger

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

const (
	// invocationSource is the namespace of the events of invocations.
	invocationSource = "invocations.redoubt.dev"
	// maxUnfinished is how many invocations of a namespace may wait or run,
	// maxRunning how many of them run at a time, and maxFinished how many
	// answers are kept: the latest.
	maxUnfinished = 500
	maxRunning    = 20
	maxFinished   = 500
	// maxUnreached is how often a call may reach nobody.
	maxUnreached = 100
	// turn is how long one that may not run yet waits for its turn.
	turn = time.Second
	// failedTTL is the least time that a failed invocation is kept.
	failedTTL = 24 * time.Hour
	// longestPause is the longest between two attempts.
	longestPause = time.Minute
	// maxType bounds the media type of an answer, in bytes.
	maxType = 256
)

// invocationReconciler makes the calls of Invocations. An attempt counts when
// its end is written down: after a crash it is made again, rather than never.
//
// The cache has no data and no answers: they are read when they are needed,
// one at a time.
type invocationReconciler struct {
	client client.Client
	live   client.Reader
	caller *caller

	mu      sync.Mutex
	running map[string]map[types.UID]bool // guarded by mu; by namespace
}

// AddInvocations registers the controller of Invocations, whose calls go to
// the gateway.
func AddInvocations(mgr ctrl.Manager, gateway netip.AddrPort) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&redoubt.Invocation{}).
		Complete(&invocationReconciler{
			client: mgr.GetClient(), live: mgr.GetAPIReader(), caller: newCaller(gateway), running: map[string]map[types.UID]bool{},
		})
}

// StripInvocation takes off an Invocation what the controllers' cache is not to
// hold.
func StripInvocation(o any) (any, error) {
	if i, ok := o.(*redoubt.Invocation); ok {
		i.ManagedFields, i.Spec.Data, i.Status.Answer = nil, nil, nil
	}
	return o, nil
}

func (r *invocationReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var i redoubt.Invocation
	if err := r.client.Get(ctx, req.NamespacedName, &i); err != nil || i.DeletionTimestamp != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := time.Now()
	if i.Status.Finished() {
		if left := expiry(&i).Sub(now); left > 0 {
			return ctrl.Result{RequeueAfter: left}, r.prune(ctx, i.Namespace)
		}
		return ctrl.Result{}, r.remove(ctx, &i)
	}
	if next := i.Status.NextAttemptTime; next != nil && now.Before(next.Time) {
		return ctrl.Result{RequeueAfter: next.Sub(now)}, nil
	}
	if reason, why, err := r.refuse(ctx, &i); err != nil {
		return ctrl.Result{}, err
	} else if reason != "" {
		return ctrl.Result{}, r.record(ctx, &i, outcome{phase: redoubt.InvocationFailed, reason: reason, problem: why})
	}
	if !r.begin(&i) {
		return ctrl.Result{RequeueAfter: turn}, nil
	}
	go r.attempt(context.WithoutCancel(ctx), i.DeepCopy())
	return ctrl.Result{}, nil // the end of the attempt changes the status
}

func (r *invocationReconciler) remove(ctx context.Context, i *redoubt.Invocation) error {
	return client.IgnoreNotFound(r.client.Delete(ctx, i, client.Preconditions{UID: &i.UID}))
}

// of lists the invocations of a namespace; they are the cache's own, to be read
// only.
func (r *invocationReconciler) of(ctx context.Context, namespace string) ([]redoubt.Invocation, error) {
	var list redoubt.InvocationList
	err := r.client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)
	return list.Items, err
}

// prune removes the finished invocations of a namespace that are too many, the
// oldest first.
func (r *invocationReconciler) prune(ctx context.Context, namespace string) error {
	all, err := r.of(ctx, namespace)
	if err != nil {
		return err
	}
	finished := slices.DeleteFunc(all, func(i redoubt.Invocation) bool { return !i.Status.Finished() })
	if len(finished) <= maxFinished {
		return nil
	}
	// By their ends, not by their expiries: failures, which are kept for longest,
	// would take the places of all answers that come after them.
	slices.SortFunc(finished, func(a, b redoubt.Invocation) int { return end(&a).Compare(end(&b)) })
	for n := range finished[:len(finished)-maxFinished] {
		if err := r.remove(ctx, finished[n].DeepCopy()); err != nil {
			return err
		}
	}
	return nil
}

// expiry is when a finished invocation goes.
func expiry(i *redoubt.Invocation) time.Time {
	keep := time.Hour
	if ttl := i.Spec.TTLSecondsAfterFinished; ttl != nil {
		keep = time.Duration(*ttl) * time.Second
	}
	// Those that were refused before their first attempt are no dead letters.
	if i.Status.Phase == redoubt.InvocationFailed && i.Status.Attempts > 0 {
		keep = max(keep, failedTTL)
	}
	return end(i).Add(keep)
}

// end is when a finished invocation has ended.
func end(i *redoubt.Invocation) time.Time {
	if i.Status.CompletionTime == nil {
		return i.CreationTimestamp.Time
	}
	return i.Status.CompletionTime.Time
}

// refuse says why an invocation cannot be, if it cannot.
func (r *invocationReconciler) refuse(ctx context.Context, i *redoubt.Invocation) (reason, why string, err error) {
	err = r.client.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.Spec.Function}, &kubeless.Function{})
	if apierrors.IsNotFound(err) {
		return "FunctionMissing", fmt.Sprintf("there is no function %q in this namespace", i.Spec.Function), nil
	}
	if err != nil || i.Status.Attempts > 0 {
		return "", "", err
	}
	all, err := r.of(ctx, i.Namespace)
	if err != nil {
		return "", "", err
	}
	before := 0
	for n := range all {
		earlier := cmp.Or(all[n].CreationTimestamp.Compare(i.CreationTimestamp.Time), cmp.Compare(all[n].Name, i.Name)) < 0
		if earlier && !all[n].Status.Finished() {
			before++
		}
	}
	if before >= maxUnfinished {
		return "TooManyInvocations", fmt.Sprintf("%d invocations of this namespace are unfinished, and no more than %d may be; try again later", before, maxUnfinished), nil
	}
	return "", "", nil
}

// begin says whether an invocation may run now, and counts it if so.
func (r *invocationReconciler) begin(i *redoubt.Invocation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.running[i.Namespace]
	if all[i.UID] || len(all) >= maxRunning {
		return false
	}
	if all == nil {
		all = map[types.UID]bool{}
		r.running[i.Namespace] = all
	}
	all[i.UID] = true
	return true
}

func (r *invocationReconciler) ended(i *redoubt.Invocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.running[i.Namespace], i.UID); len(r.running[i.Namespace]) == 0 {
		delete(r.running, i.Namespace)
	}
}

// attempt makes one call and records how it went. Until that is written down,
// it is not made again.
func (r *invocationReconciler) attempt(ctx context.Context, begun *redoubt.Invocation) {
	defer r.ended(begun)
	i := r.read(ctx, begun)
	if i == nil {
		return
	}
	e := event{
		namespace: i.Namespace, function: i.Spec.Function, id: string(i.UID), source: invocationSource, time: i.CreationTimestamp.Time,
		origin: "/namespaces/" + i.Namespace + "/invocations/" + i.Name, what: "dev.redoubt.invocation", kind: i.Spec.ContentType, data: i.Spec.Data,
	}
	answer, reached, failed := r.caller.ask(ctx, e, redoubt.MaxInvocationData)
	o := judgeAnswer(i, answer, reached, failed)
	for n := range recordTries {
		err := r.record(ctx, i, o)
		if err == nil {
			break
		}
		slog.Error("an invocation was made and cannot be recorded yet", "namespace", i.Namespace, "invocation", i.Name, "try", n+1, "error", err)
		time.Sleep(turn)
	}
	r.awaitCache(ctx, i)
}

// read is an invocation with its data, or nil when it is no longer there. It is
// tried until the API server answers: nobody asks again for what was begun.
func (r *invocationReconciler) read(ctx context.Context, begun *redoubt.Invocation) *redoubt.Invocation {
	for {
		var i redoubt.Invocation
		err := r.live.Get(ctx, client.ObjectKeyFromObject(begun), &i)
		switch {
		case apierrors.IsNotFound(err), err == nil && i.UID != begun.UID:
			return nil // one of the same name that came later has its own turn
		case err == nil:
			return &i
		}
		slog.Warn("an invocation cannot be read yet", "namespace", begun.Namespace, "invocation", begun.Name, "error", err)
		time.Sleep(turn)
	}
}

// recordTries is how often it is tried to write down how an attempt went.
const recordTries = 600

// awaitCache waits until the cache knows of the attempt: who looks before would
// make it again.
func (r *invocationReconciler) awaitCache(ctx context.Context, i *redoubt.Invocation) {
	const interval, patience = 10 * time.Millisecond, 1000
	for range patience {
		var now redoubt.Invocation
		err := r.client.Get(ctx, client.ObjectKeyFromObject(i), &now)
		if err != nil || now.UID != i.UID || now.Status.Attempts > i.Status.Attempts {
			return
		}
		time.Sleep(interval)
	}
}

// outcome is what an attempt comes to.
type outcome struct {
	phase           redoubt.InvocationPhase
	answer          answer
	called, reached bool
	pause           time.Duration // until the next attempt
	reason, problem string
}

// judgeAnswer says what becomes of an invocation after an attempt.
func judgeAnswer(i *redoubt.Invocation, a answer, reached bool, failed error) outcome {
	o := outcome{phase: redoubt.InvocationSucceeded, answer: a, called: true, reached: reached}
	if failed == nil && a.tooLarge {
		failed = fmt.Errorf("the answer has more than the %d bytes that are kept", len(a.body))
	}
	if failed == nil {
		return o
	}
	o.phase, o.reason, o.problem = redoubt.InvocationPending, "FunctionFailed", failed.Error()
	made := i.Status.Attempts - i.Status.Unreached // of those that reached the function
	o.pause = pauseAfter(i.Status.Attempts)
	retries := int32(4)
	if i.Spec.Retries != nil {
		retries = *i.Spec.Retries
	}
	switch {
	case !reached && i.Status.Unreached+1 >= maxUnreached:
		o.phase, o.reason = redoubt.InvocationFailed, "Unreached"
	case !reached:
		o.reason = "Unreached"
	case a.tooLarge && a.code < 400:
		o.phase, o.reason = redoubt.InvocationFailed, "AnswerTooLarge"
	case final(a.code), made >= retries:
		o.phase = redoubt.InvocationFailed
	}
	return o
}

// final says that the same call would be answered in the same way again.
func final(code int) bool {
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

func pauseAfter(attempts int32) time.Duration {
	p := firstPause
	for n := int32(0); n < attempts && p < longestPause; n++ {
		p *= 2
	}
	return min(p, longestPause)
}

// record writes an outcome into the status.
func (r *invocationReconciler) record(ctx context.Context, i *redoubt.Invocation, o outcome) error {
	return client.IgnoreNotFound(retry.OnError(retry.DefaultBackoff, func(err error) bool { return !apierrors.IsNotFound(err) }, func() error {
		var now redoubt.Invocation
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(i), &now); err != nil || now.UID != i.UID {
			return err
		}
		before := now.DeepCopy()
		if len(o.answer.body) == 0 {
			// The cache has no answer, and one of an earlier attempt is to go.
			before.Status.Answer = []byte("any")
		}
		s := &now.Status
		at := metav1.NewMicroTime(time.Now())
		s.Phase, s.Reason, s.Error = o.phase, o.reason, o.problem
		s.Code, s.ContentType, s.Answer = int32(o.answer.code), o.answer.kind, o.answer.body
		s.NextAttemptTime, s.CompletionTime = nil, nil
		if o.called {
			s.Attempts++
			if !o.reached {
				s.Unreached++
			}
		}
		if s.Finished() {
			s.CompletionTime = &at
		} else {
			next := metav1.NewMicroTime(at.Add(o.pause))
			s.NextAttemptTime = &next
		}
		return r.client.Status().Patch(ctx, &now, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}))
}
