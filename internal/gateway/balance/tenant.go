package balance

import "time"

// Tenant bounds what the revisions of one tenant get together.
type Tenant interface {
	// Request counts a request, or says why it is refused now.
	Request(now time.Time) *Refusal
	// Start counts a revision that is about to start its first instance, or
	// says why it may not now. Where it may, Started follows.
	Start() *Refusal
	Started()
}

// Admit says why the revision's tenant may not have one more request now; nil
// where it may. Enter follows then, at once.
func (r *Revision) Admit(now time.Time) *Refusal { return r.admit(now, true) }

// AdmitLater is Admit for a request that no instance is for now: Enter does not
// follow.
func (r *Revision) AdmitLater(now time.Time) *Refusal { return r.admit(now, false) }

func (r *Revision) admit(now time.Time, enters bool) *Refusal {
	tenant := r.tenant(r.Name.Namespace)
	if tenant == nil {
		return nil
	}
	refusal := tenant.Request(now)
	if refusal == nil && enters {
		refusal = r.start(tenant)
	}
	if refusal != nil {
		r.Meter.Request(refusal.Status, 0)
	}
	return refusal
}

// start counts the revision where a request is about to start its first
// instance.
func (r *Revision) start(tenant Tenant) *Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) > 0 || r.starting != nil {
		return nil
	}
	refusal := tenant.Start()
	if refusal == nil {
		r.starting = tenant
	}
	return refusal
}

// started ends that when there is an instance, or nobody waits for one any
// more; r.mu is held.
func (r *Revision) started() {
	if r.starting != nil && (len(r.ready) > 0 || r.load.active == 0) {
		r.starting.Started()
		r.starting = nil
	}
}
