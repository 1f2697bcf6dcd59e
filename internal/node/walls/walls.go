// Package walls keeps, on a node, who may send what to whom: tenants are walled
// off from one another and from the node, and network policies are enforced,
// for pods of every class, by one table of nftables in the node's network.
//
// Nothing is open before it is known. Through the Node Resource Interface (NRI)
// a pod gets its rules after it has its address and before its first container;
// an address that is nobody's has no network. The table stays when this process
// ends, and is replaced in one transaction when it is started again. Where the
// kernel does not take a change, all of the table is made anew; where it does
// not take that either, network policies allow nothing, and as the last resort the
// pods' network is closed.
package walls

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/internal/cri"
	"redoubt.dev/redoubt/internal/node/nri"
	"redoubt.dev/redoubt/internal/node/walls/policy"
	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// Options say what is walled.
type Options struct {
	NodeName string
	// NRI and CRI are the container runtime's sockets.
	NRI, CRI string
	// PodRange is where the node's pods have their addresses from.
	PodRange netip.Prefix
	// Inside are further addresses that are not outside the cluster: those of
	// services and of what carries nodes.
	Inside []netip.Prefix
	// Gateway is where gateways take requests that keep tenants apart
	// themselves; not valid where there are none.
	Gateway netip.AddrPort
}

// Walls are one node's.
type Walls struct {
	opts    Options
	facts   *facts
	runtime runtime.RuntimeServiceClient
	asked   atomic.Bool
	// queue has one key: make the table what it is to be.
	queue workqueue.TypedRateLimitingInterface[struct{}]

	mu sync.Mutex
	// told says that the container runtime has said what runs. Guarded by mu.
	told bool
	// sandboxes are those that run here, by their own names. Guarded by mu.
	sandboxes map[string]sandbox
	table     table // guarded by mu
	// noted is what was said last of policies that allow nothing. Guarded by mu.
	noted []string
}

// New makes walls; nothing happens before Run.
func New(cfg *rest.Config, opts Options) (*Walls, error) {
	facts, err := newFacts(cfg, &opts)
	if err != nil {
		return nil, err
	}
	return &Walls{
		opts:      opts,
		facts:     facts,
		sandboxes: map[string]sandbox{},
		table:     table{pods: opts.PodRange, stale: map[netip.Addr]bool{}},
		queue:     workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[struct{}]()),
	}, nil
}

// Ready says whether the walls stand and new pods get theirs in time.
func (w *Walls) Ready() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.table.now != nil && w.Asked()
}

// Asked says whether the container runtime asks before a pod starts.
func (w *Walls) Asked() bool { return w.asked.Load() }

// Run keeps the walls until ctx ends.
func (w *Walls) Run(ctx context.Context) error {
	client, conn, err := cri.Connect(w.opts.CRI)
	if err != nil {
		return err
	}
	defer conn.Close()
	w.runtime = client
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, w.queue.ShutDown)
	if err := w.facts.follow(ctx, &parts, func() { w.queue.Add(struct{}{}) }); err != nil {
		return fmt.Errorf("keep walls: %w", err)
	}
	w.queue.Add(struct{}{})
	parts.Go(func() { w.work(ctx) })
	nri.Serve(ctx, nri.Plugin{Name: "redoubt-walls", Index: "01", Socket: w.opts.NRI, Events: w, Connected: w.asked.Store})
	return nil
}

// Synchronize looks again at what runs: some of it was started while nobody
// was asked.
func (w *Walls) Synchronize(ctx context.Context, _ []*api.PodSandbox, _ []*api.Container) ([]*api.ContainerUpdate, error) {
	return nil, w.learn(ctx)
}

// learn finds out what runs here, and makes the table of it.
func (w *Walls) learn(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	running, err := w.running(ctx)
	if err != nil {
		return err
	}
	w.sandboxes, w.told = running, true
	if err := w.program(ctx); err != nil {
		return err
	}
	slog.Info("walls stand", "sandboxes", len(w.sandboxes), "chains", len(w.table.now.Chains))
	return nil
}

// RunPodSandbox gives a sandbox its rules; without them it is refused.
func (w *Walls) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	s, ok := w.sandboxOf(pod)
	if !ok {
		return nil // it has the node's network
	}
	if err := w.facts.await(ctx, pod.Namespace); err != nil {
		return fmt.Errorf("wall pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, other := range w.sandboxes {
		if other.address == s.address {
			delete(w.sandboxes, id) // its end was not heard
		}
	}
	w.sandboxes[pod.Id] = s
	if err := w.program(ctx); err != nil {
		delete(w.sandboxes, pod.Id)
		return fmt.Errorf("wall pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// StopPodSandbox takes a sandbox's network, before its address is free for
// others.
func (w *Walls) StopPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.sandboxes[pod.Id]; !ok {
		return nil
	}
	delete(w.sandboxes, pod.Id)
	return w.program(ctx)
}

// RemovePodSandbox is told of sandboxes that could not be started, too.
func (w *Walls) RemovePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return w.StopPodSandbox(ctx, pod)
}

func (w *Walls) work(ctx context.Context) {
	for {
		key, stopped := w.queue.Get()
		if stopped {
			return
		}
		if err := w.update(ctx); err != nil && ctx.Err() == nil {
			slog.Error("keep walls", "error", err)
			w.queue.AddRateLimited(key)
		} else {
			w.queue.Forget(key)
		}
		w.queue.Done(key)
	}
}

// update makes the table follow the cluster. The first time it asks what runs
// and does not wait to be asked itself: the runtime begins to ask only when no
// container is being stopped, which may take a pod's whole grace.
func (w *Walls) update(ctx context.Context) error {
	w.mu.Lock()
	told := w.told
	w.mu.Unlock()
	if !told {
		return w.learn(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.program(ctx)
}

// program makes the table what it is to be; w.mu is held.
func (w *Walls) program(ctx context.Context) error {
	cluster, err := w.facts.cluster(ctx, w.sandboxes)
	if err != nil {
		return err
	}
	want := policy.Compile(cluster)
	w.note(want.Notes)
	err = w.table.set(ctx, want, func() *ruleset.Ruleset {
		cluster.Strict = true
		return policy.Compile(cluster)
	})
	if err == nil && w.table.now != want {
		const pause = time.Minute
		w.queue.AddAfter(struct{}{}, pause)
	}
	return err
}

// note says which policies allow nothing here, where that is news; w.mu is held.
func (w *Walls) note(notes []string) {
	const enough = 10
	if slices.Equal(notes, w.noted) {
		return
	}
	w.noted = notes
	for _, note := range notes[:min(len(notes), enough)] {
		slog.Warn("a network policy allows nothing on this node", "why", note)
	}
	if more := len(notes) - enough; more > 0 {
		slog.Warn("more network policies allow nothing on this node", "policies", more)
	}
}
