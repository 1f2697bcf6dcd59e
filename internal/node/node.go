// Package node is the role that runs beside the kubelet of every node. It
// labels the node with the sandboxes that its container runtime really
// offers, which is what RuntimeClasses schedule by, and with what its virtual
// machines really run under; it freezes instances of services that no gateway
// needs; it keeps tenants' floors, whatever the API server let in; it keeps the
// walls between tenants and what network policies say; it keeps some processors
// free of pods that take more than they asked for; and it stores what is built for
// functions.
//
// The role keeps no state: started again, it looks at its node and goes on.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"redoubt.dev/redoubt/internal/hold"
	"redoubt.dev/redoubt/internal/node/builds"
	"redoubt.dev/redoubt/internal/node/grace"
	"redoubt.dev/redoubt/internal/node/groups"
	"redoubt.dev/redoubt/internal/node/guard"
	"redoubt.dev/redoubt/internal/node/headroom"
	"redoubt.dev/redoubt/internal/node/walls"
	"redoubt.dev/redoubt/internal/sandbox"
)

// Options are the node role's.
type Options struct {
	// NodeName is the Kubernetes node that this process runs on.
	NodeName string
	// GuestImage is the folder of what virtual machines boot; empty where this
	// node has none of the class microvm.
	GuestImage string
	// Admin is where health is served, host:port.
	Admin string
	// Holds is where gateways say which pods they use, host:port. Empty means
	// that no pod is ever frozen.
	Holds string
	// CgroupRoot is the control group that the kubelet's are below, as a path
	// in the hierarchy.
	CgroupRoot string
	// NRI and CRI are the container runtime's sockets. Without the first the
	// node does not check tenants' floors itself.
	NRI, CRI string
	// PodRange is where the node's pods have their addresses from. Without it,
	// or without NRI, walls and network policies are not kept here.
	PodRange netip.Prefix
	// Inside are further addresses that are not outside the cluster.
	Inside []netip.Prefix
	// Gateway is where gateways take requests that keep tenants apart
	// themselves; not valid where there are none.
	Gateway netip.AddrPort
}

type role struct {
	client   kubernetes.Interface
	name     string
	informer cache.SharedIndexInformer
	queue    workqueue.TypedRateLimitingInterface[string]
	labelled atomic.Bool              // the labels have been right once
	machines atomic.Pointer[machines] // nil until it is known
	thaw     func(uid string)         // nil where no pod is ever frozen
	guard    *guard.Guard             // nil where floors are not checked here
	walls    *walls.Walls             // nil where they are not kept here
	parts    sync.WaitGroup           // what runs beside the labels
}

// Run keeps the node's labels right until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, opts Options) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("set up node role: %w", err)
	}
	r := newRole(client, opts.NodeName)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := errors.Join(r.freeze(ctx, cancel, cfg, opts), r.keepFloors(ctx, cancel, cfg, opts), r.keepWalls(ctx, cancel, cfg, opts), r.storeBuilds(ctx, opts), r.cutGrace(ctx, opts)); err != nil {
		return err
	}
	r.keepHeadroom(ctx, opts)
	admin := &http.Server{Addr: opts.Admin, Handler: r.health(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := admin.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serve health: %w", err))
		}
	}()
	context.AfterFunc(ctx, func() { _ = admin.Close(); r.queue.ShutDown() })
	go r.informer.RunWithContext(ctx)
	if opts.GuestImage != "" {
		go r.learnMachines(ctx, opts.GuestImage)
	}
	r.work(ctx)
	r.parts.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// freeze begins to freeze and thaw pods; a failure later on ends the role.
func (r *role) freeze(ctx context.Context, fail context.CancelCauseFunc, cfg *rest.Config, opts Options) error {
	if opts.Holds == "" {
		return nil
	}
	f, err := newFreezing(ctx, cfg, r.client, opts)
	if errors.Is(err, hold.ErrNoCertificate) {
		slog.Warn("pods are never frozen", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("set up freezing: %w", err)
	}
	r.thaw = f.thaw
	r.parts.Go(func() {
		if err := f.run(ctx); err != nil {
			fail(err)
		}
	})
	return nil
}

// keepFloors begins to check tenants' floors; a failure later on ends the role.
func (r *role) keepFloors(ctx context.Context, fail context.CancelCauseFunc, cfg *rest.Config, opts Options) error {
	if opts.NRI == "" {
		return nil
	}
	guarded := guard.Options{NodeName: opts.NodeName, NRI: opts.NRI, CRI: opts.CRI, Thaw: r.thaw}
	if opts.GuestImage != "" {
		guarded.Learned = microVM
	}
	g, err := guard.New(cfg, r.client, guarded)
	if err != nil {
		return fmt.Errorf("set up the guard of floors: %w", err)
	}
	r.guard = g
	r.parts.Go(func() {
		if err := g.Run(ctx); err != nil {
			fail(err)
		}
	})
	return nil
}

// keepWalls begins to keep walls and network policies; a failure later on ends
// the role.
func (r *role) keepWalls(ctx context.Context, fail context.CancelCauseFunc, cfg *rest.Config, opts Options) error {
	if opts.NRI == "" || !opts.PodRange.IsValid() {
		return nil
	}
	w, err := walls.New(cfg, walls.Options{NodeName: opts.NodeName, NRI: opts.NRI, CRI: opts.CRI, PodRange: opts.PodRange, Inside: opts.Inside, Gateway: opts.Gateway})
	if err != nil {
		return fmt.Errorf("set up walls: %w", err)
	}
	r.walls = w
	r.parts.Go(func() {
		if err := w.Run(ctx); err != nil {
			fail(err)
		}
	})
	return nil
}

// storeBuilds begins to store what is built for functions here.
func (r *role) storeBuilds(ctx context.Context, opts Options) error {
	b, err := builds.New(r.client, opts.NodeName, opts.CRI)
	if err != nil {
		return fmt.Errorf("set up the store of builds: %w", err)
	}
	r.parts.Go(func() { b.Run(ctx) })
	return nil
}

// keepHeadroom begins to keep some processors free of greedy pods.
func (r *role) keepHeadroom(ctx context.Context, opts Options) {
	h, err := headroom.New(groups.Mounts, opts.CgroupRoot)
	if err != nil {
		slog.Warn("a pod that takes more than it asked for may keep others waiting", "error", err)
		return
	}
	r.parts.Go(func() { h.Run(ctx) })
}

// cutGrace begins to end pods that keep the container runtime from asking the
// guard and the walls.
func (r *role) cutGrace(ctx context.Context, opts Options) error {
	if opts.NRI == "" {
		return nil
	}
	asked := func() bool { return r.guard.Asked() && (r.walls == nil || r.walls.Asked()) }
	r.parts.Go(func() {
		if err := grace.Cut(ctx, grace.Options{Client: r.client, NodeName: opts.NodeName, CRI: opts.CRI, Asked: asked}); err != nil {
			slog.Error("pods that end slowly may keep others from starting", "error", err)
		}
	})
	return nil
}

func newRole(client kubernetes.Interface, name string) *role {
	one := informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	})
	r := &role{
		client:   client,
		name:     name,
		informer: informers.NewSharedInformerFactoryWithOptions(client, 0, one).Core().V1().Nodes().Informer(),
		queue:    workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	// The error is that of an informer that has ended; this one has not begun.
	_, _ = r.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { r.queue.Add(name) },
		UpdateFunc: func(any, any) { r.queue.Add(name) },
	})
	return r
}

func (r *role) health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !r.labelled.Load() {
			http.Error(w, "the node has not been labelled yet", http.StatusServiceUnavailable)
			return
		}
		if r.guard != nil && !r.guard.Asked() {
			http.Error(w, "the container runtime does not ask whether sandboxes keep their floors", http.StatusServiceUnavailable)
			return
		}
		if r.walls != nil && !r.walls.Ready() {
			http.Error(w, "the walls do not stand yet", http.StatusServiceUnavailable)
		}
	})
	return mux
}

func (r *role) work(ctx context.Context) {
	for {
		key, stopped := r.queue.Get()
		if stopped {
			return
		}
		if err := r.label(ctx); err != nil {
			slog.Error("label node", "node", r.name, "error", err)
			r.queue.AddRateLimited(key)
		} else {
			r.queue.Forget(key)
		}
		r.queue.Done(key)
	}
}

// label makes the node's labels name what its container runtime offers.
func (r *role) label(ctx context.Context) error {
	obj, exists, err := r.informer.GetStore().GetByKey(r.name)
	if err != nil || !exists {
		return err
	}
	node := obj.(*corev1.Node)
	if len(node.Status.RuntimeHandlers) == 0 && !r.labelled.Load() {
		return nil // the kubelet has not said yet; it tells when it does
	}
	var m machines
	if known := r.machines.Load(); known != nil {
		m = *known
	}
	if labels := changes(node, m.isolation); len(labels) > 0 {
		meta := map[string]any{"labels": labels}
		if m.accelerator != "" {
			meta["annotations"] = map[string]string{sandbox.AcceleratorAnnotation: m.accelerator}
		}
		patch, err := json.Marshal(map[string]any{"metadata": meta})
		if err != nil {
			return err
		}
		if _, err := r.client.CoreV1().Nodes().Patch(ctx, r.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "redoubt-node"}); err != nil {
			return fmt.Errorf("patch labels: %w", err)
		}
		slog.Info("labelled node", "node", r.name, "handlers", node.Status.RuntimeHandlers)
	}
	r.labelled.Store(true)
	return nil
}
