// Package instance knows which pods are ready for requests.
//
// A pod becomes ready for the gateway when it answers the gateway's own probe,
// which is made every few milliseconds from the moment the pod has an address;
// the kubelet's once-a-second probe would be the larger part of a cold start.
// It stops being ready when it is deleted, when the kubelet says so after
// having said the opposite, or when it takes no connection; in the last two
// cases it is probed again.
package instance

import (
	"context"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/kube"
)

// Tracker follows pods and revisions. It is fed from one goroutine or several.
type Tracker struct {
	set    SetRevision
	keeper balance.Keeper // nil: no instance is ever frozen

	ctx    context.Context
	cancel context.CancelFunc
	probes sync.WaitGroup

	mu        sync.Mutex
	revisions map[types.NamespacedName]*revision // guarded by mu
	pods      map[types.UID]*pod                 // guarded by mu
}

// SetRevision gives a revision its settings and returns it.
type SetRevision func(types.NamespacedName, balance.Settings) *balance.Revision

type revision struct {
	uid      types.UID
	balancer *balance.Revision
	probe    probe
}

// pod is what is known of one pod; its revision may not be known yet.
type pod struct {
	name     string
	object   string // the pod's own UID
	revision types.NamespacedName
	uid      types.UID // of the revision
	ip, node netip.Addr
	kubelet  bool // what the kubelet says of its readiness

	instance *balance.Instance  // nil until the revision and the address are known
	given    *revision          // whose balancer has the instance, also when it was deleted since; nil while none has
	stop     context.CancelFunc // ends its probe; nil while there is none
}

// NewTracker returns a tracker without pods. The keeper is nil where no
// instance is ever frozen. Close ends its probes.
func NewTracker(set SetRevision, keeper balance.Keeper) *Tracker {
	ctx, cancel := context.WithCancel(context.Background())
	return &Tracker{
		set: set, keeper: keeper, ctx: ctx, cancel: cancel,
		revisions: map[types.NamespacedName]*revision{},
		pods:      map[types.UID]*pod{},
	}
}

// Close ends every probe and waits for them.
func (t *Tracker) Close() {
	t.cancel()
	t.probes.Wait()
}

// SetRevision takes in a new or changed revision.
func (t *Tracker) SetRevision(rev *serving.Revision) {
	name := types.NamespacedName{Namespace: rev.Namespace, Name: rev.Name}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &revision{uid: rev.UID, balancer: t.set(name, settingsOf(rev)), probe: probeOf(&rev.Spec)}
	t.revisions[name] = r
	r.balancer.Fail(failureOf(rev))
	for _, p := range t.pods {
		if p.revision == name {
			t.review(p)
		}
	}
}

// DeleteRevision forgets a revision; its pods follow one by one.
func (t *Tracker) DeleteRevision(name types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.revisions, name)
}

// SetPod takes in a new or changed pod.
func (t *Tracker) SetPod(object *corev1.Pod) {
	if leaves(object) {
		t.DeletePod(object.UID)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pods[object.UID]
	if p == nil {
		p = &pod{
			name:     object.Name,
			object:   string(object.UID),
			revision: types.NamespacedName{Namespace: object.Namespace, Name: object.Labels[serving.RevisionLabel]},
			uid:      types.UID(object.Labels[serving.RevisionUIDLabel]),
		}
		t.pods[object.UID] = p
	}
	t.move(p, object.Status.PodIP)
	p.node, _ = netip.ParseAddr(object.Status.HostIP)
	before := p.kubelet
	p.kubelet = kube.PodIs(object, corev1.PodReady)
	if before && !p.kubelet {
		t.unready(p)
	}
	t.review(p)
}

// move gives a pod its address, which changes when its sandbox is made anew;
// t.mu is held.
func (t *Tracker) move(p *pod, address string) {
	ip, _ := netip.ParseAddr(address)
	if ip == p.ip {
		return
	}
	t.unready(p)
	p.ip, p.instance = ip, nil
}

// DeletePod sends no more requests to a pod.
func (t *Tracker) DeletePod(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.pods[uid]; p != nil {
		t.unready(p)
		delete(t.pods, uid)
	}
}

// review starts a pod's probe, or makes it ready without one; t.mu is held.
func (t *Tracker) review(p *pod) {
	r := t.revisions[p.revision]
	if r == nil || r.uid != p.uid || !p.ip.IsValid() || p.given != nil {
		return
	}
	if p.instance == nil {
		p.instance = t.newInstance(r, p)
	}
	switch {
	case p.kubelet && r.probe.declared:
		t.makeReady(r, p)
	case p.stop == nil && !r.probe.foreign:
		t.probe(r, p, r.probe)
	}
}

// newInstance is p's, which its node may freeze; t.mu is held.
func (t *Tracker) newInstance(r *revision, p *pod) *balance.Instance {
	i := balance.NewInstance(p.name, netip.AddrPortFrom(p.ip, uint16(r.balancer.Settings().Port)),
		func(*balance.Instance) { t.suspect(p) })
	if t.keeper != nil && p.node.IsValid() {
		i.Kept(t.keeper, p.object, p.node)
		// This begins to connect: a node that does not know of this gateway
		// freezes what all the others have released.
		t.keeper.Connected(i)
	}
	return i
}

// suspect probes a pod again that took no connection. Where only the kubelet
// can make the real probe, a connection must do: the kubelet has not said
// anything against the pod.
func (t *Tracker) suspect(p *pod) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := p.given
	if r == nil {
		return
	}
	t.unready(p)
	again := r.probe
	again.delay = 0
	if again.foreign {
		again = probe{port: int32(p.instance.Address.Port()), timeout: again.timeout, successes: 1}
	}
	t.probe(r, p, again)
}

// probe makes p ready as soon as it answers; t.mu is held.
func (t *Tracker) probe(r *revision, p *pod, with probe) {
	ctx, cancel := context.WithCancel(t.ctx)
	p.stop = cancel
	ip := p.ip
	t.probes.Go(func() {
		if with.wait(ctx, ip) != nil {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if ctx.Err() == nil { // nobody stopped it in this moment
			t.makeReady(r, p)
		}
	})
}

// makeReady is called with t.mu held.
func (t *Tracker) makeReady(r *revision, p *pod) {
	t.stopProbe(p)
	p.given = r
	r.balancer.Add(p.instance)
}

// unready is called with t.mu held.
func (t *Tracker) unready(p *pod) {
	t.stopProbe(p)
	if p.given != nil {
		p.given.balancer.Remove(p.instance)
		p.given = nil
	}
}

func (t *Tracker) stopProbe(p *pod) {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}
