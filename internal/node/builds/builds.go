// Package builds stores what the node's build pods have made for functions: it
// fetches the result of each from its sandbox, and makes an image of it and of
// the runtime's, in the node's own store.
//
// Nothing that a build hands over is trusted: it may hold files, folders and
// links, is bounded in time, number and size, and lands below one folder of an
// image that its own namespace alone may use.
package builds

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/node/condition"
)

const (
	// workers is how many results are stored at a time, each of another namespace:
	// the builds of one, however slow, keep no other's waiting.
	workers = 4
	// turn is after how long a build looks again whether its namespace's former
	// one is done.
	turn = 500 * time.Millisecond
)

// Builds follows the node's build pods.
type Builds struct {
	client   kubernetes.Interface
	socket   string // the container runtime's
	informer cache.SharedIndexInformer
	queue    workqueue.TypedRateLimitingInterface[string]

	mu     sync.Mutex
	judged map[types.UID]bool // guarded by mu: what has been said of
	busy   map[string]bool    // guarded by mu: namespaces with a worker
}

// New follows the pods of the node called name, whose container runtime listens
// at socket.
func New(client kubernetes.Interface, name, socket string) (*Builds, error) {
	ours := informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", name).String()
		o.LabelSelector = kubeless.BuildLabel
	})
	b := &Builds{
		client: client, socket: socket,
		informer: informers.NewSharedInformerFactoryWithOptions(client, 0, ours).Core().V1().Pods().Informer(),
		queue:    workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
		judged:   map[types.UID]bool{},
		busy:     map[string]bool{},
	}
	see := func(o any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
			b.queue.Add(key)
		}
	}
	_, err := b.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, o any) { see(o) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			see(o)
		},
	})
	return b, err
}

// Run stores until ctx ends.
func (b *Builds) Run(ctx context.Context) {
	defer context.AfterFunc(ctx, b.queue.ShutDown)()
	go b.informer.RunWithContext(ctx)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { kube.Work(ctx, b.queue, "store what was built", b.look) })
	}
	all.Wait()
}

// begin says whether a pod's build may be looked at now, until end is called.
func (b *Builds) begin(pod *corev1.Pod) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[pod.Namespace] {
		return false
	}
	b.busy[pod.Namespace] = true
	return true
}

func (b *Builds) end(pod *corev1.Pod) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, pod.Namespace)
}

// said says whether a pod's result was judged.
func (b *Builds) said(pod *corev1.Pod) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.judged[pod.UID]
}

// look stores the result of a build that is done, and says so.
func (b *Builds) look(ctx context.Context, key string) error {
	o, exists, err := b.informer.GetStore().GetByKey(key)
	if err != nil || !exists {
		return err
	}
	pod := o.(*corev1.Pod)
	if b.said(pod) || pod.DeletionTimestamp != nil || kube.PodCondition(pod, kubeless.PodStored).Status != "" {
		return nil
	}
	if !b.begin(pod) {
		b.queue.AddAfter(key, turn)
		return nil
	}
	defer b.end(pod)
	var failed error
	switch {
	case pod.Status.Phase == corev1.PodSucceeded:
		failed = errors.New("what was built was handed over, and is not in the node's store; it is built again later")
	case kube.PodIs(pod, corev1.PodReady):
		failed = b.store(ctx, pod)
	default:
		return nil
	}
	if ctx.Err() != nil {
		return nil // the next role sees that it is not there
	}
	if err := b.say(ctx, pod, failed); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judged[pod.UID] = true
	return nil
}

// say writes the condition.
func (b *Builds) say(ctx context.Context, pod *corev1.Pod, failed error) error {
	said := corev1.PodCondition{Type: kubeless.PodStored, Status: corev1.ConditionTrue, Reason: "Stored"}
	if failed != nil {
		slog.Warn("a build's result is not stored", "pod", pod.Namespace+"/"+pod.Name, "error", failed)
		const most = 1000
		text := []rune(failed.Error())
		said.Status, said.Reason, said.Message = corev1.ConditionFalse, "BuildFailed", string(text[:min(len(text), most)])
	}
	var missing *baseMissing
	if errors.As(failed, &missing) {
		said.Reason = "RuntimeImageMissing"
	}
	return condition.Set(ctx, b.client, pod, said)
}
