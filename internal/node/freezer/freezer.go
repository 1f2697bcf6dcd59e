// Package freezer stops the pods of a node that no gateway needs, and lets them
// go on when one does: a frozen pod takes no processor time, and goes on
// about a millisecond after it is wanted, whatever its class.
//
// A Freezer serves gateways (see package hold) until its context ends. It keeps
// no state: started anew it thaws what it finds, and so it does when it ends,
// so that nothing stays frozen without somebody who would thaw it.
package freezer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// grace is how long nothing is frozen after a gateway's connection ended: it
// may have requests under way and come back.
const grace = 30 * time.Second

// Freezer decides for each pod of a node.
type Freezer struct {
	groups hierarchy
	known  Pods

	mu       sync.Mutex
	gateways map[*gateway]struct{}         // guarded by mu, as are all below
	kept     map[string]struct{}           // UIDs of pods that are frozen no more
	entered  map[string]map[Visit]struct{} // by UID, why pods go on that no gateway needs
	pods     map[string]*pod               // by UID
	after    time.Time                     // nothing is frozen before
}

var errNotInstance = errors.New("it is no instance on this node that may be frozen")

// pod is one that was frozen once.
type pod struct {
	mu     sync.Mutex
	group  group // guarded by mu
	frozen bool  // guarded by mu
	gone   bool  // guarded by mu; it is being deleted
	failed bool  // guarded by mu; it could not be thawed, and that is tried again
}

// Pods is what is known of the node's pods.
type Pods interface {
	// Instance says whether the pod is an instance of a service: a gateway has
	// no business with others.
	Instance(uid string) bool
	// Changed is told, without a lock, of a pod that was frozen or thawed.
	Changed(uid string)
}

// New returns a freezer of the pods of a kubelet whose control groups are
// below root. It thaws them: an earlier freezer may have left some frozen.
func New(root string, pods Pods) (*Freezer, error) {
	groups, err := newHierarchy(root)
	if err != nil {
		return nil, err
	}
	if err := groups.thawAll(); err != nil {
		return nil, fmt.Errorf("thaw the pods of the node: %w", err)
	}
	return &Freezer{groups: groups, known: pods, gateways: map[*gateway]struct{}{}, kept: map[string]struct{}{}, entered: map[string]map[Visit]struct{}{}, pods: map[string]*pod{}}, nil
}

// Frozen says whether the pod is.
func (f *Freezer) Frozen(uid string) bool {
	f.mu.Lock()
	p := f.pods[uid]
	f.mu.Unlock()
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}

// Delete lets a pod that is being deleted go on for good, so that it can end
// as it likes.
func (f *Freezer) Delete(uid string) {
	p := f.pod(uid)
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	f.thaw(uid)
}

// Forget drops what is known of a pod that is gone.
func (f *Freezer) Forget(uid string) {
	f.thaw(uid)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, uid)
	delete(f.kept, uid)
	delete(f.entered, uid)
	for g := range f.gateways {
		delete(g.released, uid)
	}
}

func (f *Freezer) pod(uid string) *pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pods[uid]
	if p == nil {
		p = &pod{}
		f.pods[uid] = p
	}
	return p
}

// Keep has a pod go on for good, whatever gateways say.
func (f *Freezer) Keep(uid string) {
	f.mu.Lock()
	f.kept[uid] = struct{}{}
	f.mu.Unlock()
	f.thaw(uid)
}

// Kept says whether Keep was called for the pod.
func (f *Freezer) Kept(uid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, kept := f.kept[uid]
	return kept
}

// Visit is a reason for which a pod goes on that no gateway needs.
type Visit string

// The visits that there are.
const (
	// Forward is that of a client that is connected past the gateway.
	Forward Visit = "forward"
	// Resize is that of the kubelet, which changes what the pod may use.
	Resize Visit = "resize"
	// Stop is that of the guard, which stops what is below its floor.
	Stop Visit = "stop"
)

// Enter has a pod go on until Leave for the same reason, whatever gateways say.
func (f *Freezer) Enter(uid string, why Visit) {
	f.mu.Lock()
	if f.entered[uid] == nil {
		f.entered[uid] = map[Visit]struct{}{}
	}
	f.entered[uid][why] = struct{}{}
	f.mu.Unlock()
	f.thaw(uid)
}

// Leave ends what Enter began, if it did: the pod is frozen when nobody else
// needs it.
func (f *Freezer) Leave(ctx context.Context, uid string, why Visit) {
	f.mu.Lock()
	_, released := f.entered[uid][why]
	if delete(f.entered[uid], why); len(f.entered[uid]) == 0 {
		delete(f.entered, uid)
	}
	if released {
		released = f.released(uid)
	}
	f.mu.Unlock()
	if released {
		go f.tryFreeze(ctx, uid)
	}
}

// released says that some gateway has released the pod; f.mu is held.
func (f *Freezer) released(uid string) bool {
	for g := range f.gateways {
		if g.released[uid] {
			return true
		}
	}
	return false
}

// wanted says that somebody may use the pod.
func (f *Freezer) wanted(uid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, resized := f.entered[uid][Resize]
	return resized || f.needed(uid)
}

// Idle says that nobody needs the pod: where it goes on, it is for the kubelet to
// change what it may use, and soon frozen again.
func (f *Freezer) Idle(uid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.needed(uid)
}

// needed says that some gateway, or who keeps it or is in it, may use the pod; f.mu
// is held.
func (f *Freezer) needed(uid string) bool {
	if _, kept := f.kept[uid]; kept {
		return true
	}
	for why := range f.entered[uid] {
		if why != Resize {
			return true
		}
	}
	for g := range f.gateways {
		if !g.released[uid] {
			return true
		}
	}
	return len(f.gateways) == 0 || time.Now().Before(f.after)
}

// freeze stops a pod that nobody wants.
func (f *Freezer) freeze(ctx context.Context, uid string) error {
	if f.wanted(uid) {
		return nil
	}
	if !f.known.Instance(uid) {
		return errNotInstance
	}
	g, err := f.groups.find(uid)
	if err != nil {
		return err
	}
	p := f.pod(uid)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen || p.gone || f.wanted(uid) {
		return nil
	}
	p.group = g
	p.frozen, err = g.Freeze(ctx, func() bool { return f.wanted(uid) })
	if p.frozen {
		go f.known.Changed(uid)
	}
	if err != nil {
		f.goOn(uid, p)
		return fmt.Errorf("freeze: %w", err)
	}
	return nil
}

// thaw lets a pod go on. It waits for a freeze that has begun.
func (f *Freezer) thaw(uid string) {
	f.mu.Lock()
	p := f.pods[uid]
	f.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f.goOn(uid, p)
}

// goOn thaws a pod that is frozen, and tries again until it is; p.mu is held.
func (f *Freezer) goOn(uid string, p *pod) {
	if !p.frozen {
		return
	}
	if err := p.group.Thaw(); err != nil {
		if !p.failed {
			slog.Error("thaw pod", "uid", uid, "error", err)
			p.failed = true
			f.tryAgain(uid, p)
		}
		return
	}
	p.frozen, p.failed = false, false
	go f.known.Changed(uid)
}

// tryAgain thaws, after a while, a pod that could not be thawed.
func (f *Freezer) tryAgain(uid string, p *pod) {
	const pause = 100 * time.Millisecond
	time.AfterFunc(pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		f.goOn(uid, p)
		if p.frozen && p.failed {
			f.tryAgain(uid, p)
		}
	})
}

// thawAll lets every pod go on.
func (f *Freezer) thawAll() {
	f.mu.Lock()
	all := make([]string, 0, len(f.pods))
	for uid := range f.pods {
		all = append(all, uid)
	}
	f.mu.Unlock()
	for _, uid := range all {
		f.thaw(uid)
	}
}
