package revision

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

// fullQuota is an API server with one revision and no room for a pod.
type fullQuota struct {
	client.Client
	rev             *serving.Revision
	creates, writes int
	fails           error // of the moment, instead
}

func (q *fullQuota) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	q.rev.DeepCopyInto(o.(*serving.Revision))
	return nil
}

func (q *fullQuota) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func (q *fullQuota) Status() client.SubResourceWriter { return statusOf{q: q} }

func (q *fullQuota) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	if q.creates++; q.fails != nil {
		return q.fails
	}
	return apierrors.NewForbidden(corev1.Resource("pods"), o.GetGenerateName()+rand.String(5), errors.New("exceeded quota: redoubt-tenant"))
}

type statusOf struct {
	client.SubResourceWriter
	q *fullQuota
}

func (s statusOf) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	s.q.writes++
	o.(*serving.Revision).DeepCopyInto(s.q.rev)
	return nil
}

type noSpares struct{}

func (noSpares) Take(context.Context, *serving.Revision, *corev1.Pod) (string, error) { return "", nil }

// A full quota is said once, and asked again after a pause.
func TestFullQuota(t *testing.T) {
	one := int32(1)
	q := &fullQuota{rev: &serving.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "web-00001", UID: "u", CreationTimestamp: metav1.Now()}}}
	q.rev.Spec.Containers = []serving.Container{{Image: "i"}}
	q.rev.Status.DesiredReplicas = &one
	r := &reconciler{client: q, live: q, spares: noSpares{}}
	for range 3 {
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(q.rev)})
		if err != nil || result.RequeueAfter != kube.RefusedPause {
			t.Errorf("asked again after %v, %v", result.RequeueAfter, err)
		}
	}
	if q.creates != 3 || q.writes != 1 {
		t.Errorf("%d tries made %d versions of the status, want 1", q.creates, q.writes)
	}
	if c := q.rev.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionFalse || c.Reason != "FailedCreate" {
		t.Errorf("ready: %+v", c)
	}
}

// What fails for a moment is tried again, and fails nobody who waits for an instance.
func TestFailureOfTheMoment(t *testing.T) {
	for _, fails := range []error{apierrors.NewTooManyRequests("busy", 1), apierrors.NewServerTimeout(corev1.Resource("pods"), "create", 1), errors.New("connection refused")} {
		q := &fullQuota{fails: fails, rev: &serving.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "web-00001", UID: "u", CreationTimestamp: metav1.Now()}}}
		q.rev.Spec.Containers = []serving.Container{{Image: "i"}}
		q.rev.Status.DesiredReplicas = new(int32(1))
		q.rev.Status.Conditions.Set(serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}, metav1.Now())
		r := &reconciler{client: q, live: q, spares: noSpares{}}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(q.rev)}); !errors.Is(err, fails) {
			t.Errorf("%v: %v", fails, err)
		}
		if c := q.rev.Status.Conditions.Get(serving.Ready); c.Status != corev1.ConditionTrue {
			t.Errorf("%v: %+v", fails, c)
		}
	}
}
