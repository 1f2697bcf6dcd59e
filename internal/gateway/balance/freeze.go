package balance

import "time"

// Rest releases the instances that have been without a request for as long as
// the revision's settings say. It is called every second or so.
func (r *Revision) Rest(now time.Time) {
	after := r.Settings().Freeze
	if after == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.ready {
		if i.keeper == nil || i.active > 0 || i.released || now.Sub(i.idle) < after || !i.keeper.Connected(i) {
			continue
		}
		i.Conns.Rest()
		i.released = true
		i.keeper.Release(i)
	}
}

// take counts a request for an instance, and has it thawed if it may be frozen;
// r.mu is held.
func (r *Revision) take(i *Instance) {
	i.active++
	if i.released {
		r.hold(i)
	}
}

// hold asks for an instance back; r.mu is held.
func (r *Revision) hold(i *Instance) {
	i.released = false
	running := i.keeper.Hold(i)
	i.thawing.Store(&running)
}

// leave ends a request's use of an instance; r.mu is held.
func (r *Revision) leave(i *Instance, now time.Time) {
	if i.active--; i.active == 0 {
		i.idle = now
	}
}

// Thawing says that the instance may not run yet.
func (i *Instance) Thawing() bool { return i.thawing.Load() != nil }

// Awake waits until the instance that a request was given at a time runs. The
// request still has the instance when it gives up; the error is a *Refusal.
func (r *Revision) Awake(i *Instance, since time.Time, gone <-chan struct{}) error {
	running := i.thawing.Load()
	if running == nil {
		return nil
	}
	timer := time.NewTimer(r.Settings().Timeout)
	defer timer.Stop()
	select {
	case <-*running:
		i.thawing.CompareAndSwap(running, nil)
		r.Meter.Thaw(time.Since(since))
		return nil
	case <-gone:
		return clientGone
	case <-timer.C:
		return r.waitedTooLong()
	}
}
