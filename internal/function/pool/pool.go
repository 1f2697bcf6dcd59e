// Package pool keeps spare instances of functions: pods that run a runtime's
// server without a function, and become an instance of the first revision that
// needs one. That saves its first call the start of a sandbox and of a language.
//
// A spare stays in its namespace and is given one function, once. The token that
// it obeys to is derived from a key that this process draws when it starts and
// tells nobody: spares of another process are of no use, and are replaced.
package pool

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	// again is how often pools are looked at when nothing is heard: the news of
	// spares themselves are not waited for.
	again = 30 * time.Second
	// pause is how long a revision's news waits: the start of the next spare is
	// not to slow down the call that has taken the last.
	pause = time.Second
)

// Pool is those of all namespaces.
type Pool struct {
	client client.Client
	live   client.Reader
	cached client.Reader // of spares alone, for who cannot wait
	key    []byte

	ctx    context.Context // until the process ends
	giving sync.WaitGroup

	mu      sync.Mutex
	gifts   map[types.UID]*gift     // by revision; guarded by mu
	ordered map[types.UID]time.Time // spares that were sent an order, and when; guarded by mu
	unfit   map[types.UID]time.Time // revisions that a spare has failed, and when; guarded by mu
}

// Add registers the controller that keeps the pools' sizes, and returns them.
func Add(mgr ctrl.Manager) (*Pool, error) {
	cached, err := kube.PodCache(mgr, kubeless.SpareLabel)
	if err != nil {
		return nil, fmt.Errorf("set up the cache of spares: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), cached: cached, key: make([]byte, 32),
		ctx: ctx, gifts: map[types.UID]*gift{}, ordered: map[types.UID]time.Time{}, unfit: map[types.UID]time.Time{},
	}
	_, _ = rand.Read(p.key) // it never fails
	err = mgr.Add(manager.RunnableFunc(func(running context.Context) error {
		<-running.Done()
		cancel()
		p.giving.Wait()
		return nil
	}))
	if err != nil {
		cancel()
		return nil, err
	}
	// One pass for a namespace: functions of it share spares, and passes of the
	// same name never run at the same time.
	later := func(rev client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if rev.GetAnnotations()[kubeless.PoolAnnotation] != "" {
			queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: rev.GetNamespace()}}, pause)
		}
	}
	news := handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.Object, queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.ObjectNew, queue)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.Object, queue)
		},
	}
	return p, ctrl.NewControllerManagedBy(mgr).Named("warm-pool").Watches(&serving.Revision{}, news).Complete(p)
}

// demand is what a namespace's revisions want of one kind of spare.
type demand struct {
	size int
	pod  *corev1.Pod // how one is
}

// Reconcile makes and deletes spares of a namespace until there are as many as
// its revisions want.
func (p *Pool) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	wanted, err := p.demands(ctx, req.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	there, err := spares(ctx, p.live, req.Name, client.HasLabels{kubeless.SpareLabel})
	if err != nil {
		return ctrl.Result{}, err
	}
	for _, spare := range there {
		if d := wanted[spare.Labels[kubeless.SpareLabel]]; d != nil && d.size > 0 && p.usable(&spare) && !p.spoiled(&spare) {
			d.size--
			continue
		}
		// Who has become an instance since it was listed is none of these.
		as := client.Preconditions{UID: &spare.UID, ResourceVersion: &spare.ResourceVersion}
		if err := p.client.Delete(ctx, &spare, as); apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: pause}, nil
		} else if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("delete spare %s: %w", spare.Name, err)
		}
	}
	p.forget(there)
	for _, d := range wanted {
		for range d.size {
			if err := p.client.Create(ctx, p.named(d.pod)); err != nil {
				return ctrl.Result{}, fmt.Errorf("make spare: %w", err)
			}
		}
	}
	if len(wanted) == 0 {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// demands are by the kind of spare. The oldest revision of a kind owns its
// spares, which go with it at the latest.
func (p *Pool) demands(ctx context.Context, namespace string) (map[string]*demand, error) {
	var list serving.RevisionList
	if err := p.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b serving.Revision) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	wanted := map[string]*demand{}
	for _, rev := range list.Items {
		size := sizeFor(&rev)
		if size == 0 || rev.DeletionTimestamp != nil || rev.Labels[serving.RoutingStateLabel] != string(serving.RoutingActive) {
			continue
		}
		spare := newSpare(&rev)
		kind := spare.Labels[kubeless.SpareLabel]
		if wanted[kind] == nil {
			wanted[kind] = &demand{pod: spare}
		}
		wanted[kind].size = max(wanted[kind].size, size)
	}
	return wanted, nil
}

// sizeFor is how many spares rev wants. The annotation alone makes no function
// of a revision: only those have their source as a volume, and servers that can
// be spares.
func sizeFor(rev *serving.Revision) int {
	size, err := kubeless.Pool(rev.Annotations)
	if err != nil || !slices.ContainsFunc(rev.Spec.Volumes, function.HasSource) {
		return 0
	}
	return size
}

// spares are the pods with a label that are not on their way out.
func spares(ctx context.Context, from client.Reader, namespace string, labelled client.ListOption) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := from.List(ctx, &list, client.InNamespace(namespace), labelled); err != nil {
		return nil, fmt.Errorf("list spares: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil }), nil
}
