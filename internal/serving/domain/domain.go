// Package domain says of every DomainMapping whether its name is its own and
// leads somewhere. The gateway finds out for itself where to; this package
// tells the owner.
//
// Mappings in several namespaces can have one name, and then the oldest has
// it. So what is reconciled is a name with all its mappings, not a mapping.
package domain

import (
	"context"
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
)

// Options say how mappings are reached.
type Options struct {
	// Domain ends the names that the platform itself gives: no mapping can
	// have one of them.
	Domain string
	// URLPort is shown in URLs; 0 and 80 are not.
	URLPort int
}

// Indexes of the cache: mappings by their name, in all namespaces, and by the
// route that they lead to.
const (
	byName  = "name"
	byRoute = "route"
)

type reconciler struct {
	client client.Client
	opts   Options
}

// Add registers the controller.
func Add(mgr ctrl.Manager, opts Options) error {
	r := &reconciler{client: mgr.GetClient(), opts: opts}
	for index, key := range map[string]client.IndexerFunc{
		byName:  func(o client.Object) []string { return []string{o.GetName()} },
		byRoute: func(o client.Object) []string { return []string{o.(*v1beta1.DomainMapping).Spec.Ref.Name} },
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1beta1.DomainMapping{}, index, key); err != nil {
			return err
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("domain").
		Watches(&v1beta1.DomainMapping{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return []reconcile.Request{named(o.GetName())}
		})).
		// A service's route has its name, so that one watch serves for both.
		Watches(&serving.Route{}, handler.EnqueueRequestsFromMapFunc(r.leadingTo)).
		Complete(r)
}

func named(domain string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: domain}}
}

func (r *reconciler) leadingTo(ctx context.Context, route client.Object) []reconcile.Request {
	var mappings v1beta1.DomainMappingList
	if err := r.client.List(ctx, &mappings, client.InNamespace(route.GetNamespace()), client.MatchingFields{byRoute: route.GetName()}); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range mappings.Items {
		requests = append(requests, named(mappings.Items[i].Name))
	}
	return requests
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var mappings v1beta1.DomainMappingList
	if err := r.client.List(ctx, &mappings, client.MatchingFields{byName: req.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("list mappings: %w", err)
	}
	all := mappings.Items
	sort.Slice(all, func(a, b int) bool { return all[a].Before(&all[b]) })
	for i := range all {
		if err := r.report(ctx, &all[i], i == 0); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, nil
}

// report writes one mapping's status. First says that no older mapping has the
// name.
func (r *reconciler) report(ctx context.Context, m *v1beta1.DomainMapping, first bool) error {
	before, now := m.DeepCopy(), metav1.Now()
	resolved, ingress, err := r.target(ctx, m)
	if err != nil {
		return err
	}
	s := &m.Status
	s.ObservedGeneration = m.Generation
	s.URL = serving.PublicURL(m.Name, r.opts.URLPort)
	s.Address = &serving.Address{URL: s.URL}
	ready := serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
	for _, part := range []serving.Condition{ingress, resolved, r.claim(m.Name, first)} {
		s.Conditions.Set(part, now)
		if part.Status != corev1.ConditionTrue {
			ready.Status, ready.Reason, ready.Message = part.Status, part.Reason, part.Message
		}
	}
	s.Conditions.Set(ready, now)
	if equality.Semantic.DeepEqual(before.Status, m.Status) {
		return nil
	}
	return client.IgnoreNotFound(r.client.Status().Patch(ctx, m, client.MergeFrom(before)))
}
