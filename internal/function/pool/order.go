package pool

import (
	"context"
	"errors"
	"maps"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/serving/revision"
	"redoubt.dev/redoubt/runtimes"
)

// gift is a spare that has, or is being given, the function of a revision that
// will take it.
type gift struct {
	begun time.Time
	done  chan struct{} // closed when the rest is known
	spare *corev1.Pod   // nil where there is none
	err   error
}

// Prepare begins to give a spare the function of rev, for Take to find it done:
// meanwhile it is written down that rev needs an instance. It does not wait.
func (p *Pool) Prepare(rev *serving.Revision) {
	if sizeFor(rev) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, g := range p.gifts {
		if time.Since(g.begun) > again { // its spare goes, too
			delete(p.gifts, uid)
		}
	}
	maps.DeleteFunc(p.unfit, func(_ types.UID, at time.Time) bool { return time.Since(at) > rest })
	if p.gifts[rev.UID] != nil {
		return
	}
	g := &gift{begun: time.Now(), done: make(chan struct{})}
	p.gifts[rev.UID] = g
	p.giving.Go(func() {
		defer close(g.done)
		g.spare, g.err = p.give(p.ctx, rev, revision.NewPod(rev))
	})
}

// prepared is the spare that was prepared for rev, nil where none was. It is there
// for one taker.
func (p *Pool) prepared(ctx context.Context, rev *serving.Revision) (*corev1.Pod, error) {
	p.mu.Lock()
	g := p.gifts[rev.UID]
	delete(p.gifts, rev.UID)
	p.mu.Unlock()
	if g == nil {
		return nil, nil
	}
	select {
	case <-g.done:
		return g.spare, g.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// give gives the function of rev to a spare and returns it, nil where there is
// none. pod is how a new instance of rev would be.
func (p *Pool) give(ctx context.Context, rev *serving.Revision, pod *corev1.Pod) (*corev1.Pod, error) {
	if p.rests(rev) {
		return nil, nil
	}
	var fn kubeless.Function
	if err := p.client.Get(ctx, client.ObjectKey{Namespace: rev.Namespace, Name: rev.Labels[serving.ServiceLabel]}, &fn); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	order, err := function.Order(&fn, rev)
	if err != nil {
		return nil, nil // it is not the function that rev runs: its own pods are
	}
	for _, e := range pod.Spec.Containers[0].Env {
		if e.ValueFrom == nil { // the others are in the spare already
			order.Env[e.Name] = e.Value
		}
	}
	all, err := spares(ctx, p.cached, rev.Namespace, client.MatchingLabels(newSpare(rev).Labels))
	if err != nil {
		return nil, err
	}
	return p.offer(ctx, rev, all, order)
}

// offer sends the order to the first of the spares that takes it. One that fails is
// the last for a while: whatever the function does to it, as to take long to load,
// it would do to them all.
func (p *Pool) offer(ctx context.Context, rev *serving.Revision, all []corev1.Pod, order runtimes.Order) (*corev1.Pod, error) {
	for _, spare := range all {
		if !p.usable(&spare) || !kube.PodIs(&spare, corev1.PodReady) || !p.claim(&spare) {
			continue
		}
		err := p.send(ctx, &spare, order, rev.Spec.Port())
		if err == nil {
			return &spare, nil
		}
		if errors.Is(err, runtimes.ErrTaken) {
			continue
		}
		p.mu.Lock()
		p.unfit[rev.UID] = time.Now()
		p.mu.Unlock()
		return nil, p.giveUp(ctx, &spare, err)
	}
	return nil, nil
}

// rests says whether a spare has failed of late to become an instance of rev.
func (p *Pool) rests(rev *serving.Revision) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.unfit[rev.UID]
	return ok && time.Since(at) < rest
}

// claim says whether a spare has had no order. The cache may not know yet of one
// that has: its server would take another as a call of its function.
func (p *Pool) claim(spare *corev1.Pod) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.ordered[spare.UID]; ok {
		return false
	}
	p.ordered[spare.UID] = time.Now()
	return true
}

// spoiled says whether a spare has had an order, and nobody has come for it.
func (p *Pool) spoiled(spare *corev1.Pod) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.ordered[spare.UID]
	return ok && time.Since(at) > again
}

// forget drops what is known of spares that have long had their order, and are not
// among those that are there.
func (p *Pool) forget(there []corev1.Pod) {
	kept := map[types.UID]bool{}
	for _, spare := range there {
		kept[spare.UID] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, at := range p.ordered {
		if !kept[uid] && time.Since(at) > 2*again {
			delete(p.ordered, uid)
		}
	}
}

func (p *Pool) send(ctx context.Context, spare *corev1.Pod, order runtimes.Order, port int32) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return order.Send(ctx, net.JoinHostPort(spare.Status.PodIP, strconv.Itoa(int(port))), p.token(spare))
}
