package route

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
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// A route whose name is taken asks again, whether its status has changed or not.
func TestNameIsTaken(t *testing.T) {
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "web", UID: "u"}}
	scheme := runtime.NewScheme()
	if err := errors.Join(serving.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	taken := interceptor.Funcs{Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
		return apierrors.NewAlreadyExists(corev1.Resource("services"), o.GetName())
	}}
	r := &reconciler{client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(route).WithStatusSubresource(route).WithInterceptorFuncs(taken).Build()}
	for range 2 {
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(route)})
		if err != nil || result.RequeueAfter != ingressPause {
			t.Errorf("asked again after %v, %v", result.RequeueAfter, err)
		}
	}
	if err := r.client.Get(t.Context(), client.ObjectKeyFromObject(route), route); err != nil {
		t.Fatal(err)
	}
	if c := route.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionFalse || c.Reason != "IngressFailed" {
		t.Errorf("ready: %+v", c)
	}
}
