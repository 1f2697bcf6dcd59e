// Package service keeps a Service's Configuration and Route, which share its
// name, and mirrors what is known of them.
package service

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/serving/status"
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
	before := svc.DeepCopy()
	failed := r.keep(ctx, &svc)
	if wait := status.Wait(svc.CreationTimestamp, before.Status.ObservedGeneration, svc.Status.Conditions, time.Now()); failed == nil && wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if !equality.Semantic.DeepEqual(before.Status, svc.Status) {
		if err := r.client.Status().Patch(ctx, &svc, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, err
		}
	}
	if pause := kube.PauseAfter(failed); pause > 0 {
		return ctrl.Result{RequeueAfter: pause}, nil // the status says why
	}
	return ctrl.Result{}, failed
}

// keep makes the parts and mirrors them. A part that cannot be made is said in
// its condition, so that nobody waits for it.
func (r *reconciler) keep(ctx context.Context, svc *serving.Service) error {
	config, err := r.configuration(ctx, svc)
	if err != nil {
		refuse(svc, serving.ConfigurationsReady, "ConfigurationFailed", err)
		return err
	}
	route, err := r.route(ctx, svc)
	if err != nil {
		refuse(svc, serving.RoutesReady, "RouteFailed", err)
		return err
	}
	mirror(svc, config, route)
	return nil
}

func refuse(svc *serving.Service, kind, reason string, err error) {
	if kube.PauseAfter(err) == 0 {
		return // trying again may help
	}
	s, now := &svc.Status, metav1.Now()
	s.ObservedGeneration = svc.Generation
	c := serving.Condition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: err.Error()}
	s.Conditions.Set(c, now)
	s.Conditions.Set(overall(c), now)
}

func (r *reconciler) configuration(ctx context.Context, svc *serving.Service) (*serving.Configuration, error) {
	config := &serving.Configuration{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	_, err := controllerutil.CreateOrPatch(ctx, r.client, config, func() error {
		config.Spec = *svc.Spec.ConfigurationSpec.DeepCopy()
		config.Annotations = inherited(svc.Annotations, serving.RolloutDurationAnnotation)
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
		route.Annotations = inherited(svc.Annotations)
		return own(svc, route, r.client)
	})
	if err != nil {
		return nil, fmt.Errorf("keep route %s: %w", route.Name, err)
	}
	return route, nil
}

// own makes obj the service's, with the labels of the service and no others.
// It refuses to take over an object that another service or a user made.
func own(svc *serving.Service, obj client.Object, c client.Client) error {
	if obj.GetUID() != "" && !metav1.IsControlledBy(obj, svc) {
		return apierrors.NewForbidden(serving.GroupVersion.WithResource("services").GroupResource(), svc.Name,
			fmt.Errorf("%T %q exists that this service did not make; delete or rename one of them", obj, obj.GetName()))
	}
	labels := maps.Clone(svc.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[serving.ServiceLabel], labels[serving.ServiceUIDLabel] = svc.Name, string(svc.UID)
	obj.SetLabels(labels)
	return controllerutil.SetControllerReference(svc, obj, c.Scheme())
}

// inherited are the annotations that a service hands on: not what kubectl
// remembers, nor those in without.
func inherited(annotations map[string]string, without ...string) map[string]string {
	handed := maps.Clone(annotations)
	delete(handed, corev1.LastAppliedConfigAnnotation)
	for _, name := range without {
		delete(handed, name)
	}
	return handed
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
	s.Conditions.Adopt(serving.Freezable, config.Status.Conditions, now)
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
