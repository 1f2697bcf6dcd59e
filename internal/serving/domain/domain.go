// Package domain says of every DomainMapping and HTTPTrigger whether its host
// is its own and leads somewhere. The gateway finds out for itself where to;
// this package tells the owner.
//
// Several can name one host (package claim says who has it). So what is
// reconciled is a name with all that claim it, not one of these.
package domain

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
)

// Options say how hosts are reached.
type Options struct {
	// Domain ends the names that the platform itself gives.
	Domain string
	// URLPort is shown in URLs; 0 and 80 are not.
	URLPort int
}

// Indexes of the cache: mappings by their name and triggers by their host, in
// all namespaces, and both by the route that they lead to.
const (
	byName  = "name"
	byHost  = "host"
	byRoute = "route"
)

type reconciler struct {
	client client.Client
	opts   Options
}

// Add registers the controller.
func Add(mgr ctrl.Manager, opts Options) error {
	r := &reconciler{client: mgr.GetClient(), opts: opts}
	for _, index := range []struct {
		object client.Object
		name   string
		key    func(client.Object) string
	}{
		{&v1beta1.DomainMapping{}, byName, client.Object.GetName},
		{&v1beta1.DomainMapping{}, byRoute, func(o client.Object) string { return o.(*v1beta1.DomainMapping).Spec.Ref.Name }},
		{&kubeless.HTTPTrigger{}, byHost, r.host},
		{&kubeless.HTTPTrigger{}, byRoute, func(o client.Object) string { return o.(*kubeless.HTTPTrigger).Spec.FunctionName }},
	} {
		keys := func(o client.Object) []string { return []string{index.key(o)} }
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), index.object, index.name, keys); err != nil {
			return err
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("domain").
		Watches(&v1beta1.DomainMapping{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return []reconcile.Request{named(o.GetName())}
		})).
		Watches(&kubeless.HTTPTrigger{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return []reconcile.Request{named(r.host(o))}
		})).
		// A service's route has its name, so that one watch serves for both.
		Watches(&serving.Route{}, handler.EnqueueRequestsFromMapFunc(r.leadingTo)).
		Complete(r)
}

func (r *reconciler) host(o client.Object) string {
	return o.(*kubeless.HTTPTrigger).Host(r.opts.Domain)
}

func named(domain string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: domain}}
}

func (r *reconciler) leadingTo(ctx context.Context, route client.Object) []reconcile.Request {
	var mappings v1beta1.DomainMappingList
	var triggers kubeless.HTTPTriggerList
	to := []client.ListOption{client.InNamespace(route.GetNamespace()), client.MatchingFields{byRoute: route.GetName()}}
	if errors.Join(r.client.List(ctx, &mappings, to...), r.client.List(ctx, &triggers, to...)) != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range mappings.Items {
		requests = append(requests, named(mappings.Items[i].Name))
	}
	for i := range triggers.Items {
		requests = append(requests, named(r.host(&triggers.Items[i])))
	}
	return requests
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	all, err := r.claims(ctx, req.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	for i := range all.mappings {
		if err := r.reportMapping(ctx, &all.mappings[i], all.order); err != nil {
			return ctrl.Result{}, err
		}
	}
	for i := range all.triggers {
		if err := r.reportTrigger(ctx, &all.triggers[i], all.order); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, nil
}
