package route

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// taken is an API server with one route, whose name a Service has that is not in
// the cache.
type taken struct {
	client.Client
	route *serving.Route
}

func (s *taken) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if route, ok := o.(*serving.Route); ok {
		s.route.DeepCopyInto(route)
		return nil
	}
	return apierrors.NewNotFound(corev1.Resource("services"), key.Name)
}

func (s *taken) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	return apierrors.NewAlreadyExists(corev1.Resource("services"), o.GetName())
}

func (s *taken) Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	_ = serving.AddToScheme(scheme)
	return scheme
}

func (s *taken) Status() client.SubResourceWriter { return statusOf{s: s} }

type statusOf struct {
	client.SubResourceWriter
	s *taken
}

func (w statusOf) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	o.(*serving.Route).DeepCopyInto(w.s.route)
	return nil
}

// A route whose name is taken asks again, whether its status has changed or not.
func TestNameIsTaken(t *testing.T) {
	s := &taken{route: &serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "web", UID: "u"}}}
	r := &reconciler{client: s}
	for range 2 {
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.route)})
		if err != nil || result.RequeueAfter != ingressPause {
			t.Errorf("asked again after %v, %v", result.RequeueAfter, err)
		}
	}
	if c := s.route.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionFalse || c.Reason != "IngressFailed" {
		t.Errorf("ready: %+v", c)
	}
}
