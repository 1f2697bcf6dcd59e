package class

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"redoubt.dev/redoubt/internal/sandbox"
)

// measured is the class whose isolation depends on the nodes: its virtual
// machines are only as strong as what runs them.
const measured = "microvm"

// isolation keeps the label of the measured class at what the weakest of its
// nodes reports. It changes no class that its owner calls anything else.
type isolation struct{ client client.Client }

// AddIsolation registers the controller.
func AddIsolation(mgr ctrl.Manager) error {
	one := func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: measured}}}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("isolation").
		Watches(&nodev1.RuntimeClass{}, handler.EnqueueRequestsFromMapFunc(one)).
		// Nodes' labels are all that is kept of them.
		WatchesMetadata(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(one), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Complete(&isolation{client: mgr.GetClient()})
}

func (r *isolation) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var class nodev1.RuntimeClass
	if err := r.client.Get(ctx, req.NamespacedName, &class); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	nodes := &metav1.PartialObjectMetadataList{}
	nodes.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	if err := r.client.List(ctx, nodes); err != nil {
		return ctrl.Result{}, fmt.Errorf("list nodes: %w", err)
	}
	var labels []map[string]string
	for _, node := range nodes.Items {
		labels = append(labels, node.Labels)
	}
	patch := relabel(&class, labels)
	if patch == nil {
		return ctrl.Result{}, nil
	}
	if err := r.client.Patch(ctx, &class, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return ctrl.Result{}, fmt.Errorf("say how class %s isolates: %w", class.Name, err)
	}
	return ctrl.Result{}, nil
}

// relabel is the merge patch (RFC 7386) that makes the class say what its
// nodes report, nil where there is nothing to change.
func relabel(class *nodev1.RuntimeClass, nodes []map[string]string) []byte {
	now := sandbox.Isolation(class.Labels[sandbox.IsolationLabel])
	want, known := sandbox.Weakest(class.Handler, nodes)
	if !known || now == want || now != sandbox.VM && now != sandbox.EmulatedVM {
		return nil
	}
	// Strings always have a form in JSON.
	patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{sandbox.IsolationLabel: string(want)}}})
	return patch
}
