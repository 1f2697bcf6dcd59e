// Package tenant keeps the namespaces of tenants. Admission policies see only
// the object that they judge and its namespace, so what they must know of a
// tenant is written there: the floor, the default class, the classes that are
// open and why others are not. Quotas, the Pod Security level and the rights of
// the tenant's users follow, and the tenant's status says what came of it.
//
// It fails closed: in a namespace with a tenant's label and without what this
// package writes, nothing that makes pods is let in; a class that is not known
// to be open is refused.
package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

type reconciler struct {
	client client.Client
	live   client.Reader // asks the API server
}

// settle is how long a quota's use may change before the status is written
// anew: pods come in bursts.
const settle = time.Second

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	r := &reconciler{client: mgr.GetClient(), live: mgr.GetAPIReader()}
	return ctrl.NewControllerManagedBy(mgr).
		Named("tenant").
		For(&redoubt.Tenant{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Namespace{}, namesakes()).
		Watches(&corev1.ResourceQuota{}, later(settle)).
		Watches(&corev1.LimitRange{}, later(0)).
		Watches(&rbacv1.RoleBinding{}, later(0)).
		Watches(&nodev1.RuntimeClass{}, r.everyTenant()).
		WatchesMetadata(&corev1.Node{}, r.everyTenant(), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Complete(r)
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var tenant redoubt.Tenant
	err := r.client.Get(ctx, req.NamespacedName, &tenant)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if gone := err != nil; gone {
		return ctrl.Result{}, r.release(ctx, req.Name, gone)
	}
	if err := r.release(ctx, req.Name, false); err != nil {
		return ctrl.Result{}, err
	}
	classes, nodes, err := r.cluster(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	resolved := resolve(&tenant.Spec, classes, nodes)
	namespaces, err := r.namespaces(ctx, tenant.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	used, err := r.usage(ctx, namespaces)
	if err != nil {
		return ctrl.Result{}, err
	}
	all := used.sum()
	for i := range namespaces {
		if err := r.keep(ctx, &tenant, &resolved, &namespaces[i], less(all, used[namespaces[i].Name])); err != nil {
			return ctrl.Result{}, fmt.Errorf("keep namespace %s of tenant %s: %w", namespaces[i].Name, tenant.Name, err)
		}
	}
	return ctrl.Result{}, r.report(ctx, &tenant, &resolved, namespaces, all)
}

// cluster is what classes there are and what the nodes say of themselves.
func (r *reconciler) cluster(ctx context.Context) ([]nodev1.RuntimeClass, []map[string]string, error) {
	var classes nodev1.RuntimeClassList
	if err := r.client.List(ctx, &classes); err != nil {
		return nil, nil, fmt.Errorf("list runtime classes: %w", err)
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	if err := r.client.List(ctx, list); err != nil {
		return nil, nil, fmt.Errorf("list nodes: %w", err)
	}
	var nodes []map[string]string
	for _, node := range list.Items {
		nodes = append(nodes, node.Labels)
	}
	return classes.Items, nodes, nil
}

// namespaces are the tenant's, by name; those that are going are left alone.
func (r *reconciler) namespaces(ctx context.Context, tenant string) ([]corev1.Namespace, error) {
	var list corev1.NamespaceList
	if err := r.client.List(ctx, &list, client.MatchingLabels{redoubt.TenantLabel: tenant}); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	namespaces := slices.DeleteFunc(list.Items, func(ns corev1.Namespace) bool { return ns.DeletionTimestamp != nil })
	slices.SortFunc(namespaces, func(a, b corev1.Namespace) int { return strings.Compare(a.Name, b.Name) })
	return namespaces, nil
}

// report writes the tenant's status.
func (r *reconciler) report(ctx context.Context, tenant *redoubt.Tenant, resolved *resolution, namespaces []corev1.Namespace, used corev1.ResourceList) error {
	before := tenant.DeepCopy()
	s := &tenant.Status
	s.ObservedGeneration = tenant.Generation
	s.OpenClasses, s.ClosedClasses = resolved.open, resolved.closed
	s.Namespaces = nil
	for _, ns := range namespaces {
		s.Namespaces = append(s.Namespaces, ns.Name)
	}
	s.Used = reported(used, &tenant.Spec.Quota)
	ready := metav1.Condition{Type: redoubt.Ready, Status: metav1.ConditionTrue, Reason: "Resolved", ObservedGeneration: tenant.Generation}
	if resolved.problem != "" {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "CannotRun", resolved.problem
	}
	meta.SetStatusCondition(&s.Conditions, ready)
	if equality.Semantic.DeepEqual(before.Status, tenant.Status) {
		return nil
	}
	if err := r.client.Status().Patch(ctx, tenant, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("say how tenant %s is: %w", tenant.Name, err)
	}
	return nil
}
