// Package route resolves a Route's targets to revisions, and gives the route
// its name inside the cluster: a Service of Kubernetes that is another name
// for the gateway's.
package route

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/serving/status"
)

// Options say how routes are reached.
type Options struct {
	// Domain ends every route's public name: NAME.NAMESPACE.Domain.
	Domain string
	// URLPort is shown in URLs; 0 and 80 are not.
	URLPort int
	// Gateway is where the gateway answers inside the cluster.
	Gateway netip.AddrPort
}

type reconciler struct {
	client client.Client
	opts   Options
}

// Add registers the controller.
func Add(mgr ctrl.Manager, opts Options) error {
	if err := mgr.Add(&gateway{client: mgr.GetClient(), address: opts.Gateway, log: mgr.GetLogger().WithName("gateway-name")}); err != nil {
		return err
	}
	r := &reconciler{client: mgr.GetClient(), opts: opts}
	return ctrl.NewControllerManagedBy(mgr).
		For(&serving.Route{}).
		Owns(&corev1.Service{}).
		Watches(&serving.Configuration{}, handler.EnqueueRequestsFromMapFunc(r.routesWith(configurationOf))).
		// Of a revision that is named, a route asks only whether it exists.
		Watches(&serving.Revision{}, handler.EnqueueRequestsFromMapFunc(r.routesWith(revisionOf)), builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(event.UpdateEvent) bool { return false },
		})).
		Complete(r)
}

// ingressPause is after how long to try again to make a route's name inside the
// cluster: what is in the way is somebody else's, and not watched.
const ingressPause = 30 * time.Second

func configurationOf(t *serving.TrafficTarget) string { return t.ConfigurationName }
func revisionOf(t *serving.TrafficTarget) string      { return t.RevisionName }

// routesWith finds the routes of which a target has an object's name.
func (r *reconciler) routesWith(name func(*serving.TrafficTarget) string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		var routes serving.RouteList
		// They are only read, and there may be many: no copies are made.
		if err := r.client.List(ctx, &routes, client.InNamespace(o.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
			return nil
		}
		var requests []reconcile.Request
		for _, route := range routes.Items {
			if slices.ContainsFunc(route.Spec.Traffic, func(t serving.TrafficTarget) bool { return name(&t) == o.GetName() }) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&route)})
			}
		}
		return requests
	}
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var route serving.Route
	if err := r.client.Get(ctx, req.NamespacedName, &route); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if route.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	before := route.DeepCopy()
	s, now := &route.Status, metav1.Now()
	s.ObservedGeneration = route.Generation
	s.URL = r.url("", &route)
	s.Address = &serving.Address{URL: fmt.Sprintf("http://%s.%s.svc.cluster.local", route.Name, route.Namespace)}

	targets, resolved, err := r.resolve(ctx, &route)
	if err != nil {
		return ctrl.Result{}, err
	}
	if resolved.Status != corev1.ConditionTrue {
		targets = assigned(s)
	}
	again, err := r.rollOut(ctx, &route, targets, now.Time)
	if err != nil {
		return ctrl.Result{}, err
	}
	ingress := r.ingress(ctx, &route)
	if ingress.Status != corev1.ConditionTrue && (again == 0 || again > ingressPause) {
		again = ingressPause
	}
	ready := serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
	for _, part := range []serving.Condition{ingress, resolved} {
		s.Conditions.Set(part, now)
		if part.Status != corev1.ConditionTrue {
			ready.Status, ready.Reason, ready.Message = part.Status, part.Reason, part.Message
		}
	}
	s.Conditions.Set(ready, now)
	if wait := status.Wait(route.CreationTimestamp, before.Status.ObservedGeneration, s.Conditions, now.Time); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if equality.Semantic.DeepEqual(before.Status, route.Status) {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	return ctrl.Result{RequeueAfter: again}, r.client.Status().Patch(ctx, &route, client.MergeFrom(before))
}

// resolve names a revision for every target.
func (r *reconciler) resolve(ctx context.Context, route *serving.Route) ([]serving.TrafficTarget, serving.Condition, error) {
	resolved := serving.Condition{Type: serving.AllTrafficAssigned, Status: corev1.ConditionTrue}
	var targets []serving.TrafficTarget
	for _, target := range route.Spec.DeepCopy().Traffic {
		problem, err := r.resolveTarget(ctx, route, &target)
		if err != nil {
			return nil, resolved, err
		}
		if problem != nil {
			return nil, *problem, nil
		}
		targets = append(targets, target)
	}
	return targets, resolved, nil
}

func (r *reconciler) resolveTarget(ctx context.Context, route *serving.Route, target *serving.TrafficTarget) (*serving.Condition, error) {
	if target.Tag != "" {
		target.URL = r.url(target.Tag+"-", route)
	}
	if target.RevisionName != "" {
		var rev serving.Revision
		err := r.client.Get(ctx, client.ObjectKey{Namespace: route.Namespace, Name: target.RevisionName}, &rev)
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if err != nil {
			return missing("Revision", target.RevisionName), nil
		}
		target.LatestRevision = new(bool)
		return nil, nil
	}
	var config serving.Configuration
	err := r.client.Get(ctx, client.ObjectKey{Namespace: route.Namespace, Name: target.ConfigurationName}, &config)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if err != nil {
		return missing("Configuration", target.ConfigurationName), nil
	}
	if config.Status.LatestReadyRevisionName == "" {
		return notReadyYet(&config), nil
	}
	target.RevisionName = config.Status.LatestReadyRevisionName
	latest := true
	target.LatestRevision = &latest
	return nil, nil
}

func missing(kind, name string) *serving.Condition {
	return &serving.Condition{
		Type: serving.AllTrafficAssigned, Status: corev1.ConditionFalse, Reason: kind + "Missing",
		Message: fmt.Sprintf("%s %q referenced in traffic not found.", kind, name),
	}
}

func notReadyYet(config *serving.Configuration) *serving.Condition {
	c := &serving.Condition{
		Type: serving.AllTrafficAssigned, Status: corev1.ConditionUnknown, Reason: "RevisionMissing",
		Message: fmt.Sprintf("Configuration %q is waiting for a Revision to become ready.", config.Name),
	}
	if ready := config.Status.Conditions.Get(serving.Ready); ready.Status == corev1.ConditionFalse {
		c.Status = corev1.ConditionFalse
		c.Message = fmt.Sprintf("Configuration %q does not have any ready Revision.", config.Name)
	}
	return c
}

// url is where the route answers: outside the cluster, unless its label keeps
// it inside.
func (r *reconciler) url(prefix string, route *serving.Route) string {
	if route.Labels[serving.VisibilityLabel] == serving.VisibilityClusterLocal {
		return fmt.Sprintf("http://%s%s.%s.svc.cluster.local", prefix, route.Name, route.Namespace)
	}
	return serving.PublicURL(fmt.Sprintf("%s%s.%s.%s", prefix, route.Name, route.Namespace, r.opts.Domain), r.opts.URLPort)
}

// ingress keeps the route's name inside the cluster.
func (r *reconciler) ingress(ctx context.Context, route *serving.Route) serving.Condition {
	c := serving.Condition{Type: serving.IngressReady, Status: corev1.ConditionTrue}
	if err := r.placeholder(ctx, route); err != nil {
		c.Status, c.Reason = corev1.ConditionFalse, "IngressFailed"
		c.Message = fmt.Sprintf("The name inside the cluster cannot be made: %v.", strings.TrimSuffix(err.Error(), "."))
	}
	return c
}

func (r *reconciler) placeholder(ctx context.Context, route *serving.Route) error {
	labels := joined(route.Labels, map[string]string{serving.RouteLabel: route.Name})
	annotations := maps.Clone(route.Annotations)
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: route.Namespace, Name: route.Name}}
	_, err := controllerutil.CreateOrPatch(ctx, r.client, svc, func() error {
		if svc.UID != "" && !metav1.IsControlledBy(svc, route) {
			return fmt.Errorf("a Service %q exists that this route did not make; delete or rename one of them", svc.Name)
		}
		// Others write on a Service, too: what leads the world to it, for one.
		// So nothing is taken off it, as in Knative.
		svc.Labels, svc.Annotations = joined(svc.Labels, labels), joined(svc.Annotations, annotations)
		svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeExternalName, gatewayHost
		svc.Spec.ClusterIP, svc.Spec.ClusterIPs = "", nil
		if len(svc.Spec.Ports) != 1 {
			svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: gatewayPort, Protocol: corev1.ProtocolTCP}}
		}
		return controllerutil.SetControllerReference(route, svc, r.client.Scheme())
	})
	return err
}

// joined has what both maps have; the second one's values go before.
func joined(a, b map[string]string) map[string]string {
	all := make(map[string]string, len(a)+len(b))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}
