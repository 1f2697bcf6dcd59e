// Package secrets lets the gateway read the secrets that HTTPTriggers and
// DomainMappings name, and no others: each namespace with such an object gets a
// Role that names them, and a RoleBinding of the gateway's user to it. Both go
// with the last of the objects, even while nobody looks: they are owned by them.
package secrets

import (
	"context"
	"fmt"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	rbacac "k8s.io/client-go/applyconfigurations/rbac/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/claim"
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
	all := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}}} // all of a namespace's at once
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("secrets").
		Watches(&kubeless.HTTPTrigger{}, all).
		Watches(&v1beta1.DomainMapping{}, all).
		Complete(r)
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	namespace := req.Name
	all, err := r.named(ctx, namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(all.secrets) == 0 {
		return ctrl.Result{}, r.withdraw(ctx, namespace)
	}
	if err := r.grant(ctx, namespace, slices.Sorted(maps.Keys(all.secrets)), all.by); err != nil {
		return ctrl.Result{}, fmt.Errorf("let the gateway read the secrets that are named in namespace %s: %w", namespace, err)
	}
	return ctrl.Result{}, nil
}

// named are the secrets of a namespace that objects name, and these objects.
type named struct {
	secrets map[string]bool
	by      []*metaac.OwnerReferenceApplyConfiguration
}

func (r *reconciler) named(ctx context.Context, namespace string) (named, error) {
	var triggers kubeless.HTTPTriggerList
	var mappings v1beta1.DomainMappingList
	if err := r.client.List(ctx, &triggers, client.InNamespace(namespace)); err != nil {
		return named{}, fmt.Errorf("list triggers: %w", err)
	}
	if err := r.client.List(ctx, &mappings, client.InNamespace(namespace)); err != nil {
		return named{}, fmt.Errorf("list mappings: %w", err)
	}
	all := named{secrets: map[string]bool{}}
	for i := range triggers.Items {
		t := &triggers.Items[i]
		all.add(t, kubeless.GroupVersion, claim.Trigger, t.Spec.TLSSecret, t.Spec.BasicAuthSecret)
	}
	for i := range mappings.Items {
		if m := &mappings.Items[i]; m.Spec.TLS != nil {
			all.add(m, v1beta1.GroupVersion, claim.Mapping, m.Spec.TLS.SecretName)
		}
	}
	return all, nil
}

// add adds the secrets that an object names; empty names are none.
func (n *named) add(o client.Object, version schema.GroupVersion, kind string, secrets ...string) {
	secrets = slices.DeleteFunc(secrets, func(name string) bool { return name == "" })
	if o.GetDeletionTimestamp() != nil || len(secrets) == 0 {
		return
	}
	for _, name := range secrets {
		n.secrets[name] = true
	}
	n.by = append(n.by, metaac.OwnerReference().WithAPIVersion(version.String()).WithKind(kind).WithName(o.GetName()).WithUID(o.GetUID()))
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
