package pool

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/runtimes"
)

// cluster is an API server that knows of deletions alone.
type cluster struct {
	client.Client
	deleted []string
}

func (c *cluster) Delete(_ context.Context, o client.Object, _ ...client.DeleteOption) error {
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
