package tenant

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// tenantsOf are the tenants that an object's label names, and that it was
// resolved for last.
func tenantsOf(obj client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, name := range []string{obj.GetLabels()[redoubt.TenantLabel], obj.GetAnnotations()[redoubt.ResolvedAnnotation]} {
		if name != "" && (len(requests) == 0 || requests[0].Name != name) {
			requests = append(requests, request(name))
		}
	}
	return requests
}

func request(tenant string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: tenant}}
}

// namesakes asks for the tenants of a namespace, the former one too.
func namesakes() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, obj client.Object) []reconcile.Request { return tenantsOf(obj) })
}

// later asks for the tenant of one of its objects, after a while: requests for
// the same tenant become one.
func later(delay time.Duration) handler.EventHandler {
	add := func(obj client.Object, q queue) {
		for _, r := range tenantsOf(obj) {
			q.AddAfter(r, delay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { add(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(e.Object, q) },
	}
}

// everyTenant asks for all tenants: classes and nodes concern each.
func (r *reconciler) everyTenant() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		var tenants redoubt.TenantList
		if err := r.client.List(ctx, &tenants); err != nil {
			return nil // the cache is gone: the process ends
		}
		var requests []reconcile.Request
		for _, t := range tenants.Items {
			requests = append(requests, request(t.Name))
		}
		return requests
	})
}
