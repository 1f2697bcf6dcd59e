package pool

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/runtimes"
)

// cluster is an API server with pods that nobody wants.
type cluster struct {
	client.Client
	pods    []corev1.Pod
	changed string // the name of one that is another by now
	deleted []string
}

func (c *cluster) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if pods, ok := list.(*corev1.PodList); ok {
		pods.Items = c.pods
	}
	return nil
}

func (c *cluster) Delete(_ context.Context, o client.Object, options ...client.DeleteOption) error {
	of := (&client.DeleteOptions{}).ApplyOptions(options)
	if o.GetName() == c.changed && of.Preconditions != nil && *of.Preconditions.ResourceVersion == o.GetResourceVersion() {
		return apierrors.NewConflict(corev1.Resource("pods"), c.changed, errors.New("it has changed"))
	}
	c.deleted = append(c.deleted, o.GetName())
	return nil
}

// ready is a spare of p that takes orders at address.
func ready(p *Pool, name, address string) corev1.Pod {
	pod := corev1.Pod{}
	pod.Namespace, pod.Name, pod.UID = "n", name, types.UID(name)
	pod.Spec.Containers = []corev1.Container{{Env: []corev1.EnvVar{{Name: runtimes.SpareVariable, Value: runtimes.Digest(p.token(&pod))}}}}
	pod.Status.PodIP = address
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return pod
}

// A function that no spare can load costs one of them, and not the pool.
func TestAFunctionFailsOneSpare(t *testing.T) {
	var orders atomic.Int32
	answer := http.StatusConflict
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if orders.Add(1) > 1 {
			answer = http.StatusInternalServerError
		}
		w.WriteHeader(answer)
	}))
	defer server.Close()
	address, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{}
	p := &Pool{client: c, key: []byte("key"), ordered: map[types.UID]time.Time{}, unfit: map[types.UID]time.Time{}}
	rev := &serving.Revision{}
	rev.UID = "rev"
	rev.Spec.Containers = []serving.Container{{Ports: []serving.ContainerPort{{ContainerPort: int32(number)}}}}
	all := []corev1.Pod{ready(p, "taken", address), ready(p, "failed", address), ready(p, "left", address)}
	if spare, err := p.offer(t.Context(), rev, all, runtimes.Order{}); spare != nil || err != nil {
		t.Errorf("got %v, %v", spare, err)
	}
	if orders.Load() != 2 || len(c.deleted) != 1 || c.deleted[0] != "failed" {
		t.Errorf("%d orders, %q are deleted", orders.Load(), c.deleted)
	}
	if spare, err := p.give(t.Context(), rev, nil); spare != nil || err != nil || orders.Load() != 2 {
		t.Errorf("the next instance: %v, %v, %d orders", spare, err, orders.Load())
	}
}

// A spare that becomes an instance while its pool gets smaller stays.
func TestASpareThatWasTakenStays(t *testing.T) {
	p := &Pool{key: []byte("key"), ordered: map[types.UID]time.Time{}}
	c := &cluster{pods: []corev1.Pod{ready(p, "spare", ""), ready(p, "taken", "")}, changed: "taken"}
	p.client, p.live = c, c
	result, err := p.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: "n"}})
	if err != nil || result.RequeueAfter != pause || len(c.deleted) != 1 || c.deleted[0] != "spare" {
		t.Errorf("%+v, %v, %q are deleted", result, err, c.deleted)
	}
}
