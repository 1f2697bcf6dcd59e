// Package secrets lets the gateway read the secrets that HTTPTriggers name, and
// no others: each namespace with such a trigger gets a Role that names them, and
// a RoleBinding of the gateway's user to it. Both go with the last of the
// triggers, even while nobody looks: they are owned by them.
package secrets

import (
	"context"
	"fmt"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	rbacac "k8s.io/client-go/applyconfigurations/rbac/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

const (
	// object is the name of the role and of its binding; the controllers have no
	// right to give any other (config/rbac).
	object = "redoubt-gateway"
	// gatewayUser is who the gateway is.
	gatewayUser = "redoubt:gateway"
)

type reconciler struct{ client client.Client }

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	r := &reconciler{client: mgr.GetClient()}
	return ctrl.NewControllerManagedBy(mgr).
		Named("secrets").
		Watches(&kubeless.HTTPTrigger{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}}} // all of a namespace's at once
		})).
		Complete(r)
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	namespace := req.Name
	var triggers kubeless.HTTPTriggerList
	if err := r.client.List(ctx, &triggers, client.InNamespace(namespace)); err != nil {
		return ctrl.Result{}, fmt.Errorf("list triggers: %w", err)
	}
	names, owners := named(triggers.Items)
	if len(names) == 0 {
		return ctrl.Result{}, r.withdraw(ctx, namespace)
	}
	if err := r.grant(ctx, namespace, names, owners); err != nil {
		return ctrl.Result{}, fmt.Errorf("let the gateway read the secrets of triggers in namespace %s: %w", namespace, err)
	}
	return ctrl.Result{}, nil
}

// named are the secrets that triggers name, and those of them that name any.
func named(triggers []kubeless.HTTPTrigger) (secrets []string, by []*metaac.OwnerReferenceApplyConfiguration) {
	all := map[string]bool{}
	for i := range triggers {
		t := &triggers[i]
		if t.DeletionTimestamp != nil || t.Spec.TLSSecret == "" && t.Spec.BasicAuthSecret == "" {
			continue
		}
		all[t.Spec.TLSSecret], all[t.Spec.BasicAuthSecret] = true, true
		by = append(by, metaac.OwnerReference().WithAPIVersion(kubeless.GroupVersion.String()).WithKind("HTTPTrigger").WithName(t.Name).WithUID(t.UID))
	}
	delete(all, "")
	return slices.Sorted(maps.Keys(all)), by
}

func (r *reconciler) grant(ctx context.Context, namespace string, secrets []string, owners []*metaac.OwnerReferenceApplyConfiguration) error {
	// Applied, not created: only so has the request a name that the controllers'
	// rights can be bounded by.
	role := rbacac.Role(object, namespace).WithOwnerReferences(owners...).
		WithRules(rbacac.PolicyRule().WithAPIGroups("").WithResources("secrets").WithVerbs("get").WithResourceNames(secrets...))
	binding := rbacac.RoleBinding(object, namespace).WithOwnerReferences(owners...).
		WithRoleRef(rbacac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName(object)).
		WithSubjects(rbacac.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.UserKind).WithName(gatewayUser))
	how := []client.ApplyOption{client.FieldOwner("redoubt-controller"), client.ForceOwnership}
	if err := r.client.Apply(ctx, role, how...); err != nil {
		return err
	}
	return r.client.Apply(ctx, binding, how...)
}

func (r *reconciler) withdraw(ctx context.Context, namespace string) error {
	at := metav1.ObjectMeta{Namespace: namespace, Name: object}
	for _, o := range []client.Object{&rbacv1.RoleBinding{ObjectMeta: at}, &rbacv1.Role{ObjectMeta: at}} {
		if err := client.IgnoreNotFound(r.client.Delete(ctx, o)); err != nil {
			return fmt.Errorf("let the gateway read no secrets in namespace %s any more: %w", namespace, err)
		}
	}
	return nil
}
