// Package routing says on every revision whether requests go to it, and since
// when: the label and annotations that Knative's users select revisions by,
// and that the collection of old revisions goes by.
//
// The routes' status decides; nothing that only wants to be routed counts,
// except a revision that a route's spec names and that waits for the others.
package routing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// byRevision indexes routes by the revisions that they lead to, so that a
// namespace with a thousand services costs each no more than one with ten.
const byRevision = "revision"

type reconciler struct{ client client.Client }

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	index := func(o client.Object) []string { return revisions(o.(*serving.Route)) }
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &serving.Route{}, byRevision, index); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("routing").
		// A revision's status changes with its load, which is no concern here.
		For(&serving.Revision{}, builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return stateOf(e.ObjectOld) != stateOf(e.ObjectNew) },
		})).
		// The old object is asked too: a revision learns that it was left.
		Watches(&serving.Route{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return requests(o.GetNamespace(), revisions(o.(*serving.Route)))
		})).
		Watches(&serving.Configuration{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			s := &o.(*serving.Configuration).Status
			return requests(o.GetNamespace(), []string{s.LatestCreatedRevisionName, s.LatestReadyRevisionName})
		})).
		Complete(&reconciler{client: mgr.GetClient()})
}

func stateOf(o client.Object) string { return o.GetLabels()[serving.RoutingStateLabel] }

// revisions are those that a route leads to or is about to, each once.
func revisions(route *serving.Route) []string {
	var names []string
	for _, target := range append(slices.Clone(route.Spec.Traffic), route.Status.Traffic...) {
		if target.RevisionName != "" && !slices.Contains(names, target.RevisionName) {
			names = append(names, target.RevisionName)
		}
	}
	return names
}

func requests(namespace string, names []string) []reconcile.Request {
	var all []reconcile.Request
	for _, name := range names {
		if name != "" {
			all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
		}
	}
	return all
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var rev serving.Revision
	if err := r.client.Get(ctx, req.NamespacedName, &rev); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if rev.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	var routes serving.RouteList
	if err := r.client.List(ctx, &routes, client.InNamespace(rev.Namespace), client.MatchingFields{byRevision: rev.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("list routes: %w", err)
	}
	var config serving.Configuration
	name := types.NamespacedName{Namespace: rev.Namespace, Name: rev.Labels[serving.ConfigurationLabel]}
	if err := r.client.Get(ctx, name, &config); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	before := rev.DeepCopy()
	newest := rev.ConfigurationGeneration() >= config.Generation
	if !mark(&rev, names(routes.Items), newest, time.Now()) {
		return ctrl.Result{}, nil
	}
	if err := r.client.Patch(ctx, &rev, client.MergeFrom(before)); err != nil {
		return ctrl.Result{}, fmt.Errorf("say how the revision is routed: %w", err)
	}
	return ctrl.Result{}, nil
}

func names(routes []serving.Route) []string {
	var all []string
	for i := range routes {
		all = append(all, routes[i].Name)
	}
	slices.Sort(all)
	return all
}

// mark writes on a revision how it is routed, and says whether that is news.
// Newest says that its configuration wants no newer one.
func mark(rev *serving.Revision, routes []string, newest bool, now time.Time) bool {
	before := serving.RoutingState(rev.Labels[serving.RoutingStateLabel])
	state := serving.RoutingReserve
	switch {
	case len(routes) > 0:
		state = serving.RoutingActive
	case newest && before != serving.RoutingActive && before != serving.RoutingReserve:
		state = serving.RoutingPending
	}
	list := strings.Join(routes, ",")
	if state == before && rev.Annotations[serving.RoutesAnnotation] == list {
		return false
	}
	if rev.Labels == nil {
		rev.Labels = map[string]string{}
	}
	if rev.Annotations == nil {
		rev.Annotations = map[string]string{}
	}
	if state != before {
		rev.Labels[serving.RoutingStateLabel] = string(state)
		rev.Annotations[serving.RoutingStateModifiedAnnotation] = now.UTC().Format(time.RFC3339)
	}
	if rev.Annotations[serving.RoutesAnnotation] = list; list == "" {
		delete(rev.Annotations, serving.RoutesAnnotation)
	}
	return true
}
