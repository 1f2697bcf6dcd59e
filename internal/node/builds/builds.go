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

	keep func(ctx context.Context, pod *corev1.Pod) error // store

	mu     sync.Mutex
	judged map[string]outcome // guarded by mu: what came of the pods that are there, by their keys
	busy   map[string]bool    // guarded by mu: namespaces with a worker
}

// outcome is what came of a build, and whether its pod's condition says so.
type outcome struct {
	uid    types.UID
	failed error
	said   bool
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
		judged:   map[string]outcome{},
		busy:     map[string]bool{},
	}
	b.keep = b.store
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

// came is what came of a pod's build, as far as that is known.
func (b *Builds) came(key string, pod *corev1.Pod) (o outcome, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o = b.judged[key]
	return o, o.uid == pod.UID
}

func (b *Builds) judge(key string, o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judged[key] = o
}

func (b *Builds) forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.judged, key)
}

// look stores the result of a build that is done, and says so.
func (b *Builds) look(ctx context.Context, key string) error {
	o, exists, err := b.informer.GetStore().GetByKey(key)
	if err != nil {
		return err
	}
	if !exists {
		b.forget(key)
		return nil
	}
	pod := o.(*corev1.Pod)
	result, known := b.came(key, pod)
	if result.said && known || pod.DeletionTimestamp != nil || kube.PodCondition(pod, kubeless.PodStored).Status != "" {
		return nil
	}
	if !known {
		if !b.begin(pod) {
			b.queue.AddAfter(key, turn)
			return nil
		}
		defer b.end(pod)
		result = outcome{uid: pod.UID}
		switch {
		case pod.Status.Phase == corev1.PodSucceeded:
			result.failed = errors.New("what was built was handed over, and is not in the node's store; it is built again later")
		case kube.PodIs(pod, corev1.PodReady):
			result.failed = b.keep(ctx, pod)
		default:
			return nil
		}
		if ctx.Err() != nil {
			return nil // the next role sees that it is not there
		}
		b.judge(key, result) // who has handed over a result has it no more, should the condition not be written
	}
	if err := b.say(ctx, pod, result.failed); err != nil {
		return err
	}
	result.said = true
	b.judge(key, result)
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
