// Package gate lets the pods of a tenant start as far as the tenant's quota has
// room, over all of its namespaces together. Admission gives each pod a
// scheduling gate (KEP-3521); here it is taken off, in the order in which pods
// were made, as long as what is behind the gate and the pod fit the quota.
//
// It fails closed: where nobody does this, nothing starts. One process does it at
// a time, and counts what it has let through from the moment that it does, so
// that pods that are made in several namespaces at once do not pass each other
// unseen. The quotas of namespaces, which the API server itself keeps, refuse
// what no tenant of that size could have.
package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// reason is that of events at pods that wait for room.
const reason = "TenantQuota"

// Waits are the pods that wait, for whoever says so of what they are pods of.
type Waits struct {
	mu  sync.Mutex
	why map[string]map[types.UID]told // by tenant, guarded by mu
}

// told is what a pod's event has said of its wait.
type told struct {
	hard corev1.ResourceList // the quota at the time
	why  string
}

// Why is why a pod waits, as long as it does; empty where it is not known to.
func (w *Waits) Why(pod types.UID) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pods := range w.why {
		if t, ok := pods[pod]; ok {
			return t.why
		}
	}
	return ""
}

func (w *Waits) of(tenant string) map[types.UID]told {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why[tenant]
}

func (w *Waits) set(tenant string, pods map[types.UID]told) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == nil {
		w.why = map[string]map[types.UID]told{}
	}
	if w.why[tenant] = pods; len(pods) == 0 {
		delete(w.why, tenant)
	}
}

type reconciler struct {
	client client.Client
	pods   client.Reader // those that have not ended
	events events.EventRecorder
	waits  *Waits

	mu sync.Mutex
	// before is what each tenant's last pass has done. Guarded by mu.
	before map[string]pass
}

// pass is what became of the pods that waited.
type pass struct {
	// through are those that were let through, whatever the cache says: true
	// where the API server has confirmed it.
	through map[types.UID]bool
}

// Add registers the controller, which notes in waits who waits. It has pods of its
// own: those of the other controllers are services' instances alone.
func Add(mgr ctrl.Manager, waits *Waits) error {
	pods, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(),
		Mapper: mgr.GetRESTMapper(),
		ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: {
			Field: fields.AndSelectors(
				fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
				fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed))),
			Transform: strip,
		}},
	})
	if err != nil {
		return err
	}
	if err := mgr.Add(pods); err != nil {
		return err
	}
	r := &reconciler{client: mgr.GetClient(), pods: pods, events: mgr.GetEventRecorder("redoubt-controller"), waits: waits, before: map[string]pass{}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("tenant-gate").
		For(&redoubt.Tenant{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, ns client.Object) []reconcile.Request {
			return request(ns.GetLabels()[redoubt.TenantLabel])
		}), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(source.Kind(pods, &corev1.Pod{}, handler.TypedEnqueueRequestsFromMapFunc(r.tenantOf), predicate.TypedFuncs[*corev1.Pod]{UpdateFunc: changes})).
		Complete(r)
}

func request(tenant string) []reconcile.Request {
	if tenant == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: tenant}}}
}

func (r *reconciler) tenantOf(ctx context.Context, pod *corev1.Pod) []reconcile.Request {
	var ns corev1.Namespace
	if r.client.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &ns) != nil {
		return nil // it will be heard of, and then its pods are looked at
	}
	return request(ns.Labels[redoubt.TenantLabel])
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var tenant redoubt.Tenant
	if err := r.client.Get(ctx, req.NamespacedName, &tenant); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // nothing starts where nobody knows how much may
	}
	pods, err := r.podsOf(ctx, tenant.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	r.mu.Lock()
	before := r.before[tenant.Name]
	r.mu.Unlock()
	now, err := r.let(ctx, &tenant, pods, before)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before[tenant.Name] = now
	return ctrl.Result{}, err
}

// podsOf are the pods of all of a tenant's namespaces, the oldest first.
func (r *reconciler) podsOf(ctx context.Context, tenant string) ([]corev1.Pod, error) {
	var namespaces corev1.NamespaceList
	if err := r.client.List(ctx, &namespaces, client.MatchingLabels{redoubt.TenantLabel: tenant}); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var all []corev1.Pod
	for _, ns := range namespaces.Items {
		var pods corev1.PodList
		if err := r.pods.List(ctx, &pods, client.InNamespace(ns.Name)); err != nil {
			return nil, fmt.Errorf("list pods of namespace %s: %w", ns.Name, err)
		}
		all = append(all, pods.Items...)
	}
	slices.SortFunc(all, func(a, b corev1.Pod) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(string(a.UID), string(b.UID))
	})
	return all, nil
}

// let takes the gates off as far as there is room. What it returns holds even
// where it fails in the middle.
func (r *reconciler) let(ctx context.Context, tenant *redoubt.Tenant, pods []corev1.Pod, before pass) (pass, error) {
	now := pass{through: map[types.UID]bool{}}
	open, wait := plan(Hard(&tenant.Spec.Quota), pods, before.through)
	for i := range pods {
		if done, ok := before.through[pods[i].UID]; ok && gated(&pods[i]) {
			now.through[pods[i].UID] = done
		}
	}
	r.tell(tenant.Name, wait)
	for _, pod := range open {
		now.through[pod.UID] = false // until the answer is here, which may get lost
		if err := Open(ctx, r.client, pod); err != nil {
			return now, fmt.Errorf("let pod %s/%s start: %w", pod.Namespace, pod.Name, err)
		}
		now.through[pod.UID] = true
	}
	return now, nil
}

// tell says of the pods that wait why they do, once for each size of the quota: what
// is taken of it changes all the time.
func (r *reconciler) tell(tenant string, wait []waiting) {
	before, now := r.waits.of(tenant), map[types.UID]told{}
	for _, w := range wait {
		t, ok := before[w.pod.UID]
		if !ok || !equality.Semantic.DeepEqual(t.hard, w.hard) {
			t = told{w.hard, w.why(tenant)}
			r.events.Eventf(w.pod, nil, corev1.EventTypeWarning, reason, "Wait", "%s", t.why)
		}
		now[w.pod.UID] = t
	}
	r.waits.set(tenant, now)
}

// Open takes the gate off a pod, and off no other one of that name.
func Open(ctx context.Context, c client.Client, pod *corev1.Pod) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"spec":     map[string]any{"schedulingGates": []map[string]string{{"$patch": "delete", "name": redoubt.QuotaGate}}},
	})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(c.Patch(ctx, pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, patch)))
}

func gated(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == redoubt.QuotaGate })
}

// changes says whether an update may make room or a wait.
func changes(e event) bool {
	return !equality.Semantic.DeepEqual(e.ObjectOld.Spec, e.ObjectNew.Spec)
}
