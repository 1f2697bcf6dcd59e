// Package guard keeps tenants' floors on a node, whatever the API server let
// in: a policy may be missing, a class may have changed after it was resolved,
// a namespace may have got its tenant late. It goes by what the container
// runtime really starts, and by the tenants' own specifications, not by what
// admission was told of them.
//
// Through the Node Resource Interface (NRI) it is asked when there is a sandbox
// and before each of its containers, and refuses; what runs already when a floor
// is raised, or was started while nobody asked, it stops. Either way there is an
// event at the pod. It is ready once the container runtime asks it; where that ends, it
// connects again and looks at everything anew.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/api"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/internal/cri"
	"redoubt.dev/redoubt/internal/node/nri"
)

// Options say where the node's container runtime is.
type Options struct {
	NodeName string
	// NRI and CRI are the container runtime's sockets.
	NRI, CRI string
	// Learned is the handler of which the node finds out how it isolates, and says
	// so in a label that it takes away until it knows; empty where there is none.
	Learned string
	// Thaw, where pods are frozen, lets one go on for good: nothing that is frozen
	// ends.
	Thaw func(uid string)
}

// reason is that of events at pods that are refused or stopped.
const reason = "BelowFloor"

// Guard is the guard of one node.
type Guard struct {
	opts   Options
	facts  *facts
	events record.EventBroadcaster
	say    record.EventRecorder
	asked  atomic.Bool
	// queue has one key: look at all sandboxes.
	queue workqueue.TypedRateLimitingInterface[struct{}]
}

// New makes a guard; nothing happens before Run.
func New(cfg *rest.Config, client kubernetes.Interface, opts Options) (*Guard, error) {
	facts, err := newFacts(cfg, opts)
	if err != nil {
		return nil, err
	}
	g := &Guard{
		opts:   opts,
		facts:  facts,
		events: record.NewBroadcaster(),
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[struct{}]()),
	}
	g.events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	g.say = g.events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "redoubt-node", Host: opts.NodeName})
	return g, nil
}

// Asked says whether the container runtime asks this guard.
func (g *Guard) Asked() bool { return g.asked.Load() }

// Run guards until ctx ends.
func (g *Guard) Run(ctx context.Context) error {
	defer g.events.Shutdown()
	client, conn, err := cri.Connect(g.opts.CRI)
	if err != nil {
		return err
	}
	defer conn.Close()
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, g.queue.ShutDown)
	if err := g.facts.follow(ctx, &parts, func() { g.queue.Add(struct{}{}) }); err != nil {
		return fmt.Errorf("guard tenants' floors: %w", err)
	}
	parts.Go(func() { g.work(ctx, client) })
	nri.Serve(ctx, nri.Plugin{Name: "redoubt", Index: "00", Socket: g.opts.NRI, Events: g, Connected: g.asked.Store})
	return nil
}

// Synchronize has everything looked at that was started before; the container
// runtime waits for the answer, so it is not done here.
func (g *Guard) Synchronize(context.Context, []*api.PodSandbox, []*api.Container) ([]*api.ContainerUpdate, error) {
	g.queue.Add(struct{}{})
	return nil, nil
}

// RunPodSandbox refuses a sandbox that is not known to keep its floor.
func (g *Guard) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return g.admit(ctx, pod)
}

// CreateContainer refuses a container in a sandbox that is not known to keep its
// floor: the floor may have been raised while the sandbox was made, or nobody
// been asked about it.
func (g *Guard) CreateContainer(ctx context.Context, pod *api.PodSandbox, _ *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	return nil, nil, g.admit(ctx, pod)
}

// patience is how long an answer may wait for the API server. The container
// runtime goes on without one that takes more than two seconds.
const patience = time.Second

func (g *Guard) admit(ctx context.Context, pod *api.PodSandbox) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	verdict := g.facts.judge(ctx, pod.Namespace, pod.RuntimeHandler)
	if verdict.result == keeps {
		return nil
	}
	g.tell(pod.Namespace, pod.Name, pod.Uid, "Refused: "+verdict.why)
	return errors.New(verdict.why)
}

func (g *Guard) work(ctx context.Context, client runtime.RuntimeServiceClient) {
	for {
		key, stopped := g.queue.Get()
		if stopped {
			return
		}
		if err := g.sweep(ctx, client); err != nil && ctx.Err() == nil {
			slog.Error("look at the sandboxes", "error", err)
			g.queue.AddRateLimited(key)
		} else {
			g.queue.Forget(key)
		}
		g.queue.Done(key)
	}
}

// sweep stops what runs below a floor. What is not known to be below it is
// left: a tenant that cannot be found must not end what it runs.
func (g *Guard) sweep(ctx context.Context, client runtime.RuntimeServiceClient) error {
	list, err := client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{
		Filter: &runtime.PodSandboxFilter{State: &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_READY}},
	})
	if err != nil {
		return fmt.Errorf("list sandboxes: %w", err)
	}
	var all []*runtime.PodSandbox
	for _, sandbox := range list.Items {
		pod := sandbox.Metadata
		verdict := g.facts.judge(ctx, pod.Namespace, sandbox.RuntimeHandler)
		if verdict.result != below {
			continue
		}
		g.tell(pod.Namespace, pod.Name, pod.Uid, "Stopped: "+verdict.why)
		all = append(all, sandbox)
	}
	return g.stop(ctx, client, all)
}

// stop stops sandboxes, all at once: none waits for one that does not end.
func (g *Guard) stop(ctx context.Context, client runtime.RuntimeServiceClient, all []*runtime.PodSandbox) error {
	const limit = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	errs := make([]error, len(all))
	var stops sync.WaitGroup
	for i, sandbox := range all {
		stops.Go(func() {
			pod := sandbox.Metadata
			if g.opts.Thaw != nil {
				g.opts.Thaw(pod.Uid)
			}
			if _, err := client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: sandbox.Id}); err != nil {
				errs[i] = fmt.Errorf("stop pod %s/%s: %w", pod.Namespace, pod.Name, err)
			}
		})
	}
	stops.Wait()
	return errors.Join(errs...)
}

func (g *Guard) tell(namespace, name, uid, message string) {
	slog.Warn("below the floor", "pod", namespace+"/"+name, "message", message)
	g.say.Event(&corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name, UID: types.UID(uid)},
		corev1.EventTypeWarning, reason, message)
}
