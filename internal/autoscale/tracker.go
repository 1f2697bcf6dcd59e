package autoscale

import (
	"time"

	"redoubt.dev/redoubt/internal/load"
)

// Tracker is what is known of one revision's load, and what was decided for
// it. It reads no clock, and is not safe for use by several goroutines.
type Tracker struct {
	concurrency, requests Window
	lastRequest           time.Time
	use                   Use
	// judged is the time of the last measurement that was decided by.
	judged time.Time
	memory Memory
	// starts are the last ones, whose gateways told of them.
	starts []load.Start
	// isNew says that nothing has been decided yet.
	isNew bool
}

// NewTracker returns one that knows of no load before now.
func NewTracker(now time.Time) *Tracker { return &Tracker{lastRequest: now, isNew: true} }

// Report adds what a gateway says of the revision. Where a request waits, a
// decision should follow at once.
func (t *Tracker) Report(r load.RevisionLoad, now time.Time) {
	t.concurrency.Add(now, r.Concurrency)
	t.requests.Add(now, r.Requests)
	t.starts = load.Recent(append(t.starts, r.Starts...))
	if r.Concurrency > 0 || r.Requests > 0 || r.Waiting > 0 {
		t.lastRequest = now
	}
}

// Measured adds what the cluster says that the instances take.
func (t *Tracker) Measured(u Use) { t.use = u }

// Want decides how many instances there should be, where desired are wanted so
// far and ready of them are. While a request waits, none is taken away.
func (t *Tracker) Want(s Settings, desired, ready int32, waiting bool, now time.Time) int32 {
	if s.Metric.Resource() {
		return t.wantByUse(s, desired, ready, now)
	}
	window := &t.concurrency
	if s.Metric == RPS {
		window = &t.requests
	}
	t.memory.Desired = desired
	if t.isNew && ready > 1 {
		// The controller has just started and knows nothing of the load that
		// these instances are there for: begin as in a panic, in which none is
		// taken away for the length of the stable window.
		t.memory.PanicSince, t.memory.PanicMax = now, ready
	}
	t.isNew = false
	want, memory := Decide(s, Measures{
		Stable:      window.Average(now, s.Stable, s.Weighted),
		Panic:       window.Average(now, s.Panic, s.Weighted),
		Waiting:     waiting,
		Ready:       ready,
		LastRequest: t.lastRequest,
	}, t.memory, now)
	t.memory = memory
	if waiting {
		want = max(want, desired)
	}
	return want
}

// Quiet says that only the retention keeps an instance: one that is taken away
// does not come back before it is asked for.
func (t *Tracker) Quiet(s Settings, now time.Time) bool {
	if now.Sub(t.lastRequest) < s.Stable || !t.memory.PanicSince.IsZero() && now.Sub(t.memory.PanicSince) < s.Stable {
		return false
	}
	held, _ := delayed(s, 0, t.memory.Recent, now)
	return held == 0
}

// wantByUse decides once for every measurement, and keeps what was decided
// until the next.
func (t *Tracker) wantByUse(s Settings, desired, ready int32, now time.Time) int32 {
	want := desired
	if t.use.At.After(t.judged) {
		t.judged = t.use.At
		want, t.memory = DecideByUse(s, t.use, ready, t.memory, now)
	}
	if s.Min == 0 && now.Sub(t.lastRequest) >= s.Stable+s.Retention {
		return 0 // no route leads to it, and nobody asks for it
	}
	want = max(want, s.Min, 1)
	if s.Max > 0 {
		want = min(want, s.Max)
	}
	return want
}
