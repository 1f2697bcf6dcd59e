package function

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

// fullQuota is an API server with one function and no room for what it needs.
type fullQuota struct {
	client.Client
	fn *kubeless.Function
}

func (q *fullQuota) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	q.fn.DeepCopyInto(o.(*kubeless.Function))
	return nil
}

func (q *fullQuota) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	return apierrors.NewForbidden(corev1.Resource("configmaps"), o.GetName(), errors.New("exceeded quota"))
}

func (q *fullQuota) Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	_ = kubeless.AddToScheme(s)
	return s
}

func (q *fullQuota) Status() client.SubResourceWriter { return statusOf{q: q} }

type statusOf struct {
	client.SubResourceWriter
	q *fullQuota
}

func (s statusOf) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	o.(*kubeless.Function).DeepCopyInto(s.q.fn)
	return nil
}

// What a full quota refuses is tried again: nobody tells when there is room.
func TestFullQuota(t *testing.T) {
	q := &fullQuota{fn: &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f", UID: "u"}}}
	q.fn.Spec.Runtime, q.fn.Spec.Handler, q.fn.Spec.Function = "python3", "f.main", "def main(event, context): return 1"
	r := &reconciler{client: q}
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(q.fn)})
	if err != nil || result.RequeueAfter != kube.RefusedPause {
		t.Errorf("tried again after %v, %v", result.RequeueAfter, err)
	}
	if c := q.fn.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionFalse {
		t.Errorf("ready: %+v", c)
	}
}
