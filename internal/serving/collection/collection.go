// Package collection deletes old revisions that no route leads to any more, so
// that a service which is deployed every day does not keep a year of them.
//
// It goes by what package routing writes on revisions, with Knative's rules
// and defaults.
package collection

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

type reconciler struct{ client client.Client }

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("collection").
		For(&serving.Configuration{}).
		Owns(&serving.Revision{}, builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(event.CreateEvent) bool { return false },
			UpdateFunc: func(e event.UpdateEvent) bool {
				return e.ObjectNew.GetLabels()[serving.RoutingStateLabel] != e.ObjectOld.GetLabels()[serving.RoutingStateLabel]
			},
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		Complete(&reconciler{client: mgr.GetClient()})
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var config serving.Configuration
	if err := r.client.Get(ctx, req.NamespacedName, &config); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if config.DeletionTimestamp != nil {
		return ctrl.Result{}, nil // its revisions go with it
	}
	var all serving.RevisionList
	if err := r.client.List(ctx, &all, client.InNamespace(config.Namespace), client.MatchingLabels{serving.ConfigurationLabel: config.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("list revisions: %w", err)
	}
	gone, again := stale(&config, all.Items, time.Now())
	for i := range gone {
		// Whatever has changed since it was looked at may be a route.
		unchanged := client.Preconditions{UID: &gone[i].UID, ResourceVersion: &gone[i].ResourceVersion}
		if err := r.client.Delete(ctx, &gone[i], unchanged); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("delete old revision %s: %w", gone[i].Name, err)
		}
	}
	return ctrl.Result{RequeueAfter: again}, nil
}
