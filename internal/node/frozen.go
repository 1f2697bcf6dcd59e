package node

import (
	"context"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/hold"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/node/condition"
	"redoubt.dev/redoubt/internal/node/freezer"
)

// settle is how long a pod stays as it is before its status says so: a pod
// that is thawed for one request is not worth two writes.
const settle = time.Second

// byUID indexes the node's pods.
const byUID = "uid"

// freezing freezes the node's idle instances and says so in their status.
type freezing struct {
	client   kubernetes.Interface
	freezer  *freezer.Freezer
	listener net.Listener
	runtime  string // the container runtime's socket
	pods     cache.SharedIndexInformer
	queue    workqueue.TypedRateLimitingInterface[string] // of UIDs
}

func newFreezing(ctx context.Context, cfg *rest.Config, client kubernetes.Interface, opts Options) (*freezing, error) {
	listener, err := hold.Listen(cfg, opts.Holds)
	if err != nil {
		return nil, err
	}
	instances := informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", opts.NodeName).String()
		o.LabelSelector = serving.RevisionUIDLabel
	})
	f := &freezing{
		client:   client,
		listener: listener,
		runtime:  opts.CRI,
		pods: informers.NewSharedInformerFactoryWithOptions(client, 0, instances,
			informers.WithTransform(stripManagedFields)).Core().V1().Pods().Informer(),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	if f.freezer, err = freezer.New(opts.CgroupRoot, f); err != nil {
		return nil, err
	}
	if err := f.pods.AddIndexers(cache.Indexers{byContainer: containersOf, byUID: func(o any) ([]string, error) {
		return []string{string(o.(*corev1.Pod).UID)}, nil
	}}); err != nil {
		return nil, err
	}
	_, err = f.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			f.see(ctx, o.(*corev1.Pod))
			f.freezer.Known(ctx, string(o.(*corev1.Pod).UID))
		},
		UpdateFunc: func(_, o any) { f.see(ctx, o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if pod, ok := o.(*corev1.Pod); ok {
				f.freezer.Forget(string(pod.UID))
			}
		},
	})
	return f, err
}

// Instance says whether the pod is one of the node's that belong to a revision,
// and may be frozen.
func (f *freezing) Instance(uid string) bool {
	found, err := f.pods.GetIndexer().ByIndex(byUID, uid)
	return err == nil && len(found) == 1 && !entered(found[0].(*corev1.Pod))
}

// Changed has the pod's condition put right.
func (f *freezing) Changed(uid string) { f.queue.AddAfter(uid, settle) }

// see thaws a pod that is being deleted, or whose resources the kubelet changes,
// and has a condition put right that an earlier role left.
func (f *freezing) see(ctx context.Context, pod *corev1.Pod) {
	uid := string(pod.UID)
	if pod.DeletionTimestamp != nil {
		f.freezer.Delete(uid)
		return
	}
	if resizing(pod) {
		f.freezer.Enter(uid, freezer.Resize)
		return // for others it is as before: that takes half a second
	}
	f.freezer.Leave(ctx, uid, freezer.Resize)
	if marked(pod) != f.freezer.Frozen(uid) {
		f.queue.AddAfter(uid, settle)
	}
}

// run freezes and thaws until ctx ends.
func (f *freezing) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, f.queue.ShutDown)()
	go f.pods.RunWithContext(ctx)
	go kube.Work(ctx, f.queue, "mark pod", f.mark)
	go f.followCommands(ctx)
	go f.followForwards(ctx)
	return f.freezer.Serve(ctx, f.listener)
}

// thaw lets an instance go on for good. Its next sandbox, if it gets one, starts
// in the same control group, which must not be frozen then.
func (f *freezing) thaw(uid string) {
	if found, err := f.pods.GetIndexer().ByIndex(byUID, uid); err == nil && len(found) > 0 {
		f.freezer.Enter(uid, freezer.Stop)
	}
}

// mark makes a pod's condition say whether it is frozen. One that goes on for the
// kubelet alone is for everybody else, who might give back what it lends.
func (f *freezing) mark(ctx context.Context, uid string) error {
	found, err := f.pods.GetIndexer().ByIndex(byUID, uid)
	if err != nil || len(found) == 0 {
		return err
	}
	pod, kept := found[0].(*corev1.Pod), f.freezer.Kept(uid)
	frozen := f.freezer.Frozen(uid) || marked(pod) && f.freezer.Idle(uid)
	if pod.DeletionTimestamp != nil || marked(pod) == frozen && (!kept || entered(pod)) {
		return nil
	}
	said := corev1.PodCondition{Type: serving.PodFrozen, Status: corev1.ConditionFalse}
	switch {
	case frozen:
		said.Status, said.Reason = corev1.ConditionTrue, "Idle"
		said.Message = "no request needs it; the next one thaws it"
	case kept:
		said.Reason = serving.ReasonCommand
		said.Message = "a command was run in it, and it is frozen no more"
	}
	return condition.Set(ctx, f.client, pod, said)
}

// stripManagedFields forgets who set which field: nobody asks here.
func stripManagedFields(o any) (any, error) {
	if pod, ok := o.(*corev1.Pod); ok {
		pod.ManagedFields = nil
	}
	return o, nil
}

// resizing says that the kubelet is at work on what the pod may use. What is
// inside a gVisor sandbox or a virtual machine has a part in that, and the
// container runtime would wait for a frozen one, and the kubelet with it for all
// pods. One that failed is tried again when it is thawed for another reason.
func resizing(pod *corev1.Pod) bool {
	c := kube.PodCondition(pod, corev1.PodResizeInProgress)
	return c.Status == corev1.ConditionTrue && c.Reason != corev1.PodReasonError
}

func marked(pod *corev1.Pod) bool {
	return kube.PodIs(pod, serving.PodFrozen)
}
