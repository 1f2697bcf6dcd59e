package lending

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

// maxNoted bounds the annotation that is read, in bytes: whoever may write pods
// can write it.
const maxNoted = 4 << 10

type reconciler struct{ client client.Client }

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("lending").
		For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return owed(o.(*corev1.Pod)) }))).
		Complete(&reconciler{client: mgr.GetClient()})
}

// owed says that a pod goes on, and asks for less than it did.
func owed(pod *corev1.Pod) bool {
	_, lent := pod.Annotations[serving.LentAnnotation]
	return lent && pod.DeletionTimestamp == nil && !kube.PodIs(pod, serving.PodFrozen)
}

// Reconcile has a pod ask for what it did. Whether it may, the API server, quotas
// and the node decide: the annotation gives nobody more than making such a pod.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	if err := r.client.Get(ctx, req.NamespacedName, pod); err != nil || !owed(pod) {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	asked := read(pod.Annotations[serving.LentAnnotation])
	if !maps.EqualFunc(requests(asking(pod, asked)), requests(pod), resource.Quantity.Equal) {
		if err := resize(ctx, r.client, pod, asked); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	settled := pod.DeepCopy()
	delete(settled.Annotations, serving.LentAnnotation)
	if err := r.client.Patch(ctx, settled, client.MergeFromWithOptions(pod, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("note that instance %s has back what it lent: %w", pod.Name, err)
	}
	return ctrl.Result{}, nil
}

// read is what the annotation says; nothing where nobody here wrote it.
func read(noted string) map[string]resource.Quantity {
	asked := map[string]resource.Quantity{}
	if len(noted) > maxNoted || json.Unmarshal([]byte(noted), &asked) != nil {
		return nil
	}
	maps.DeleteFunc(asked, func(_ string, q resource.Quantity) bool { return q.Sign() <= 0 })
	return asked
}
