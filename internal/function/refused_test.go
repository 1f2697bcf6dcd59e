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
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

// A full quota takes nothing from a function whose source is there: the API server
// asks it before it looks.
func TestFullQuotaForASourceThatIsThere(t *testing.T) {
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f", UID: "u"}}
	rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f-00001", Labels: map[string]string{serving.ConfigurationLabel: "f"}}}
	there, other := code{name: "f-source-1"}, code{name: "f-source-2"}
	rev.Spec.Volumes = there.volumes()
	scheme := runtime.NewScheme()
	if err := errors.Join(kubeless.AddToScheme(scheme), serving.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	counted := 0
	quota := interceptor.Funcs{Create: func(_ context.Context, _ client.WithWatch, o client.Object, options ...client.CreateOption) error {
		if len((&client.CreateOptions{}).ApplyOptions(options).DryRun) == 0 {
			counted++
		}
		return apierrors.NewForbidden(corev1.Resource("configmaps"), o.GetName(), errors.New("exceeded quota"))
	}}
	r := &reconciler{client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(rev).WithInterceptorFuncs(quota).Build()}
	if err := r.keepSource(t.Context(), fn, there); err != nil || counted > 0 {
		t.Errorf("one that is there: %v, counted %d times", err, counted)
	}
	if err := r.keepSource(t.Context(), fn, other); !apierrors.IsForbidden(err) {
		t.Errorf("one that is not: %v", err)
	}
}

// What a full quota refuses is tried again: nobody tells when there is room.
func TestFullQuota(t *testing.T) {
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f", UID: "u"}}
	fn.Spec.Runtime, fn.Spec.Handler, fn.Spec.Function = "python3", "f.main", "def main(event, context): return 1"
	scheme := runtime.NewScheme()
	if err := errors.Join(kubeless.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	full := interceptor.Funcs{Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
		return apierrors.NewForbidden(corev1.Resource("configmaps"), o.GetName(), errors.New("exceeded quota"))
	}}
	r := &reconciler{client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(fn).WithStatusSubresource(fn).WithInterceptorFuncs(full).Build()}
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(fn)})
	if err != nil || result.RequeueAfter != kube.RefusedPause {
		t.Errorf("tried again after %v, %v", result.RequeueAfter, err)
	}
	if err := r.client.Get(t.Context(), client.ObjectKeyFromObject(fn), fn); err != nil {
		t.Fatal(err)
	}
	if c := fn.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionFalse {
		t.Errorf("ready: %+v", c)
	}
}
