// Package class keeps the list of runtime classes that admission policies
// read. A policy sees only the object it judges and its parameter, so this
// list, which follows the cluster's RuntimeClasses, is that parameter.
//
// It fails closed: a class that is not in the list is refused, and without
// the list every class is.
package class

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Namespace and Name are where the policies look for the list.
const (
	Namespace = "redoubt-system"
	Name      = "runtime-classes"
)

type reconciler struct{ client client.Client }

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	all := reconcile.Request{}
	all.Namespace, all.Name = Namespace, Name
	return ctrl.NewControllerManagedBy(mgr).
		Named("runtimeclass").
		Watches(&nodev1.RuntimeClass{}, handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
			return []reconcile.Request{all}
		})).
		Complete(&reconciler{client: mgr.GetClient()})
}

func (r *reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	var classes nodev1.RuntimeClassList
	if err := r.client.List(ctx, &classes); err != nil {
		return ctrl.Result{}, fmt.Errorf("list runtime classes: %w", err)
	}
	names := map[string]string{}
	for _, c := range classes.Items {
		names[c.Name] = c.Handler
	}
	list := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Name}}
	_, err := controllerutil.CreateOrPatch(ctx, r.client, list, func() error {
		if !maps.Equal(list.Data, names) {
			list.Data = names
		}
		return nil
	})
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("keep the list of runtime classes: %w", err)
	}
	return ctrl.Result{}, nil
}
