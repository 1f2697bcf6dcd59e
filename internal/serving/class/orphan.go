package class

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/sandbox"
)

// NoNode is the reason of the event at what needs a class that no node can run.
const NoNode = "NoNode"

// orphan tells pods, services and functions that their class has lost its last
// node. What runs goes on; what is to start waits.
type orphan struct {
	client client.Client
	// all reads pods that are not kept in memory.
	all    client.Reader
	events events.EventRecorder

	mu   sync.Mutex
	lost map[string]bool // classes of which it was told
}

// AddOrphan registers the controller.
func AddOrphan(mgr ctrl.Manager) error {
	r := &orphan{client: mgr.GetClient(), all: mgr.GetAPIReader(), events: mgr.GetEventRecorder("redoubt-controller"), lost: map[string]bool{}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("orphan").
		For(&nodev1.RuntimeClass{}).
		WatchesMetadata(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.classes), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Complete(r)
}

func (r *orphan) classes(ctx context.Context, _ client.Object) []reconcile.Request {
	var classes nodev1.RuntimeClassList
	if err := r.client.List(ctx, &classes); err != nil {
		return nil // the cache that reads them has ended
	}
	requests := make([]reconcile.Request, len(classes.Items))
	for i, class := range classes.Items {
		requests[i].NamespacedName = types.NamespacedName{Name: class.Name}
	}
	return requests
}

func (r *orphan) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var class nodev1.RuntimeClass
	if err := r.client.Get(ctx, req.NamespacedName, &class); err != nil {
		r.remember(req.Name, false)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	nodes := &metav1.PartialObjectMetadataList{}
	nodes.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	if err := r.client.List(ctx, nodes); err != nil {
		return ctrl.Result{}, fmt.Errorf("list nodes: %w", err)
	}
	runs := slices.ContainsFunc(nodes.Items, func(n metav1.PartialObjectMetadata) bool { return sandbox.Runs(n.Labels, &class) })
	if news := r.remember(class.Name, !runs); runs || !news {
		return ctrl.Result{}, nil
	}
	if err := r.tell(ctx, class.Name); err != nil {
		r.remember(class.Name, false) // and it is tried again
		return ctrl.Result{}, fmt.Errorf("say that no node runs class %s: %w", class.Name, err)
	}
	return ctrl.Result{}, nil
}

// remember says whether it is news that a class has no node.
func (r *orphan) remember(class string, lost bool) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news = r.lost[class] != lost
	if lost {
		r.lost[class] = true
	} else {
		delete(r.lost, class)
	}
	return news
}

func (r *orphan) tell(ctx context.Context, class string) error {
	var pods corev1.PodList
	var services serving.ServiceList
	var functions kubeless.FunctionList
	if err := r.all.List(ctx, &pods); err != nil {
		return err
	}
	if err := r.client.List(ctx, &services); err != nil {
		return err
	}
	if err := r.client.List(ctx, &functions); err != nil {
		return err
	}
	for i := range pods.Items {
		r.say(&pods.Items[i], pods.Items[i].Spec.RuntimeClassName, class)
	}
	for i := range services.Items {
		r.say(&services.Items[i], services.Items[i].Spec.Template.Spec.RuntimeClassName, class)
	}
	for i := range functions.Items {
		r.say(&functions.Items[i], functions.Items[i].Spec.RuntimeClassName, class)
	}
	return nil
}

func (r *orphan) say(object client.Object, names *string, class string) {
	if names == nil || *names != class {
		return
	}
	r.events.Eventf(object, nil, corev1.EventTypeWarning, NoNode, "Schedule",
		"runtimeClassName: no node can run the class %q now: what runs goes on, what is to start waits; bring back a node that offers it, or name another class; see: redoubt runtimeclass describe %s", class, class)
}
