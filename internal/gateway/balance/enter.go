package balance

import "time"

// Wait is what a request had to wait for; nothing, if it is empty.
type Wait string

const (
	// Queue is an instance that was busy, Create one that was not there, and
	// Thaw one that was frozen.
	Queue  Wait = "queue"
	Create Wait = "create"
	Thaw   Wait = "thaw"
)

// Enter counts a request that arrived at now and gives it an instance, which
// may have to be waited for (see Awake). It waits for one until gone is closed
// or the revision's timeout is over, and says what for. The error is a *Refusal.
// Leave must follow either way.
func (r *Revision) Enter(now time.Time, gone <-chan struct{}) (*Instance, Wait, error) {
	r.mu.Lock()
	r.load.count(now, 1)
	r.load.arrived++
	return r.acquire(now, gone)
}

// Again gives a request that arrived at a time another instance than failed,
// which it leaves; or the same one, when that is ready again.
func (r *Revision) Again(failed *Instance, arrived time.Time, gone <-chan struct{}) (*Instance, Wait, error) {
	r.mu.Lock()
	r.leave(failed, time.Now())
	r.serveQueue()
	return r.acquire(arrived, gone)
}

// Leave ends a request. The instance is nil when it has none.
func (r *Revision) Leave(now time.Time, i *Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load.count(now, -1)
	r.started()
	if i != nil {
		r.leave(i, now)
		if r.queue.len() > 0 {
			r.serveQueue()
		}
	}
}

// acquire is called with r.mu held and gives it up.
func (r *Revision) acquire(arrived time.Time, gone <-chan struct{}) (*Instance, Wait, error) {
	if r.queue.len() == 0 { // nobody is overtaken
		if i := r.pick(); i != nil {
			r.take(i)
			r.mu.Unlock()
			return i, "", nil
		}
	}
	absent, why := len(r.ready) == 0, r.failure
	if absent && why != "" {
		r.mu.Unlock()
		r.waits(r) // what failed once may succeed when it is tried again
		return nil, "", r.failed(why)
	}
	w := r.queue.push()
	r.mu.Unlock()
	if w == nil {
		return nil, "", r.queueFull()
	}
	if !absent {
		i, err := r.wait(w, arrived, gone)
		return i, Queue, err
	}
	r.waits(r)
	i, err := r.wait(w, arrived, gone)
	if i != nil {
		r.Meter.ColdStart(time.Since(arrived))
	}
	return i, Create, err
}

// wait returns when the waiter is granted an instance or gives up.
func (r *Revision) wait(w *waiter, arrived time.Time, gone <-chan struct{}) (*Instance, error) {
	timer := time.NewTimer(time.Until(arrived.Add(r.Settings().Timeout)))
	defer timer.Stop()
	refusal := clientGone
	select {
	case i := <-w.granted:
		return r.granted(i)
	case <-gone:
	case <-timer.C:
		refusal = r.waitedTooLong()
	}
	r.mu.Lock()
	waiting := r.queue.remove(w)
	r.mu.Unlock()
	if !waiting { // granted in this very moment
		return r.granted(<-w.granted)
	}
	return nil, refusal
}

func (r *Revision) granted(i *Instance) (*Instance, error) {
	if i != nil {
		return i, nil
	}
	r.mu.Lock()
	why := r.failure
	r.mu.Unlock()
	return nil, r.failed(why)
}
