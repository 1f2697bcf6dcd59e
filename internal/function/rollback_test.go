package function

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// A function goes back to an earlier version although its newest is still built, or
// cannot be: that is when one wants to.
func TestRollbackDoesNotWaitForTheNewest(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(kubeless.AddToScheme(scheme), serving.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	for title, source := range map[string]string{"built": "def main(event, context): return 1", "refused": ""} {
		fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f", UID: "u", Generation: 3}}
		fn.Spec.Runtime, fn.Spec.Handler, fn.Spec.Function, fn.Spec.Deps = "python3", "f.main", source, "a"
		if source == "" {
			fn.Spec.FunctionContentType = "base64+zip"
		}
		fn.Annotations = map[string]string{kubeless.RollbackAnnotation: kubeless.Rollback(fn, "f-00001")}
		svc := &serving.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f"}}
		svc.Spec.Template.Spec.Containers = []serving.Container{{Image: "before"}}
		if err := ctrl.SetControllerReference(fn, svc, scheme); err != nil {
			t.Fatal(err)
		}
		c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(fn).WithObjects(fn, svc).Build()
		r := &reconciler{client: c, live: c, builds: c}
		_, _ = r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(fn)})
		if err := errors.Join(c.Get(t.Context(), client.ObjectKeyFromObject(fn), fn), c.Get(t.Context(), client.ObjectKeyFromObject(svc), svc)); err != nil {
			t.Fatal(err)
		}
		if fn.Status.Conditions.IsTrue(serving.Ready) || svc.Spec.Template.Spec.Containers[0].Image != "before" {
			t.Errorf("%s: it is ready, %+v", title, svc.Spec.Template)
		}
		if traffic := svc.Spec.Traffic; len(traffic) != 1 || traffic[0].RevisionName != "f-00001" {
			t.Errorf("%s: requests go to %+v", title, traffic)
		}
	}
}
