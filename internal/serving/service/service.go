// Package service keeps a Service's Configuration and Route, which share its
// name, and mirrors what is known of them.
package service

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

type reconciler struct{ client client.Client }

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&serving.Service{}).
		Owns(&serving.Configuration{}).
		Owns(&serving.Route{}).
		Complete(&reconciler{client: mgr.GetClient()})
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var svc serving.Service
	if err := r.client.Get(ctx, req.NamespacedName, &svc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if svc.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	config, err := r.configuration(ctx, &svc)
	if err != nil {
		return ctrl.Result{}, err
	}
	route, err := r.route(ctx, &svc)
	if err != nil {
		return ctrl.Result{}, err
	}
	before := svc.DeepCopy()
	mirror(&svc, config, route)
	if equality.Semantic.DeepEqual(before.Status, svc.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.client.Status().Patch(ctx, &svc, client.MergeFrom(before))
}

func (r *reconciler) configuration(ctx context.Context, svc *serving.Service) (*serving.Configuration, error) {
	config := &serving.Configuration{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	_, err := controllerutil.CreateOrPatch(ctx, r.client, config, func() error {
		config.Spec = *svc.Spec.ConfigurationSpec.DeepCopy()
		return own(svc, config, r.client)
	})
	if err != nil {
		return nil, fmt.Errorf("keep configuration %s: %w", config.Name, err)
	}
	return config, nil
}

func (r *reconciler) route(ctx context.Context, svc *serving.Service) (*serving.Route, error) {
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	_, err := controllerutil.CreateOrPatch(ctx, r.client, route, func() error {
		route.Spec.Traffic = traffic(svc)
		return own(svc, route, r.client)
	})
	if err != nil {
		return nil, fmt.Errorf("keep route %s: %w", route.Name, err)
	}
	return route, nil
}

// own refuses to take over an object that another service or a user made.
func own(svc *serving.Service, obj client.Object, c client.Client) error {
	if labels := obj.GetLabels(); labels[serving.ServiceLabel] != svc.Name {
		next := map[string]string{serving.ServiceLabel: svc.Name}
		for k, v := range labels {
			if k != serving.ServiceLabel {
				next[k] = v
			}
		}
		obj.SetLabels(next)
	}
	return controllerutil.SetControllerReference(svc, obj, c.Scheme())
}

// traffic is the service's own, with everything to the latest revision where
// it says nothing, and its one configuration filled in.
func traffic(svc *serving.Service) []serving.TrafficTarget {
	targets := svc.Spec.DeepCopy().Traffic
	if len(targets) == 0 {
		all, latest := int64(100), true
		targets = []serving.TrafficTarget{{LatestRevision: &latest, Percent: &all}}
	}
	for i := range targets {
		if targets[i].RevisionName == "" {
			targets[i].ConfigurationName = svc.Name
		}
	}
	return targets
}

func mirror(svc *serving.Service, config *serving.Configuration, route *serving.Route) {
	s := &svc.Status
	s.ObservedGeneration = svc.Generation
	s.ConfigurationStatusFields = config.Status.ConfigurationStatusFields
	s.RouteStatusFields = *route.Status.RouteStatusFields.DeepCopy()
	now := metav1.Now()
	configReady := renamed(config.Status.Conditions, serving.ConfigurationsReady, config.Status.ObservedGeneration == config.Generation)
	routeReady := renamed(route.Status.Conditions, serving.RoutesReady, route.Status.ObservedGeneration == route.Generation)
	s.Conditions.Set(configReady, now)
	s.Conditions.Set(routeReady, now)
	s.Conditions.Set(overall(configReady, routeReady), now)
}

// renamed is the part's Ready under the service's name for it; what the part
// says of an older generation is not known of this one.
func renamed(conditions serving.Conditions, kind string, observed bool) serving.Condition {
	ready := conditions.Get(serving.Ready)
	if !observed {
		ready = serving.Condition{Status: corev1.ConditionUnknown}
	}
	return serving.Condition{Type: kind, Status: ready.Status, Reason: ready.Reason, Message: ready.Message}
}

// overall is true when all parts are, and otherwise the first that is false,
// or the first that is not known.
func overall(parts ...serving.Condition) serving.Condition {
	for _, wanted := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionUnknown} {
		for _, p := range parts {
			if p.Status == wanted {
				return serving.Condition{Type: serving.Ready, Status: p.Status, Reason: p.Reason, Message: p.Message}
			}
		}
	}
	return serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
}
