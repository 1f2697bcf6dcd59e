// Package collection deletes old revisions that no route leads to any more, so
// that a service which is deployed every day does not keep a year of them.
//
// It goes by what package routing writes on revisions, with Knative's rules and
// settings, which the platform's owner may change.
package collection

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

type reconciler struct {
	client client.Client
	events events.EventRecorder
}

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	r := &reconciler{client: mgr.GetClient(), events: mgr.GetEventRecorder("redoubt-controller")}
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
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.all), builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
			return o.GetNamespace() == settingsNamespace && o.GetName() == settingsName
		}))).
		Complete(r)
}

// all are the configurations: the settings of each have changed.
func (r *reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var configs serving.ConfigurationList
	if err := r.client.List(ctx, &configs, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	requests := make([]reconcile.Request, len(configs.Items))
	for i := range configs.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&configs.Items[i])
	}
	return requests
}

// settings are the owner's, or Knative's defaults where there are none, or
// wrong ones: an event at the ConfigMap says so.
func (r *reconciler) settings(ctx context.Context) (settings, error) {
	var written corev1.ConfigMap
	err := r.client.Get(ctx, client.ObjectKey{Namespace: settingsNamespace, Name: settingsName}, &written)
	if client.IgnoreNotFound(err) != nil {
		return settings{}, fmt.Errorf("read the settings of collection: %w", err)
	}
	s, err := read(written.Data)
	if err != nil {
		r.events.Eventf(&written, nil, corev1.EventTypeWarning, "InvalidSettings", "Collect", "the defaults hold: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return s, nil
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
	s, err := r.settings(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	gone, again := stale(&config, all.Items, s, time.Now())
	for i := range gone {
		// Whatever has changed since it was looked at may be a route.
		unchanged := client.Preconditions{UID: &gone[i].UID, ResourceVersion: &gone[i].ResourceVersion}
		if err := r.client.Delete(ctx, &gone[i], unchanged); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("delete old revision %s: %w", gone[i].Name, err)
		}
	}
	return ctrl.Result{RequeueAfter: again}, nil
}
