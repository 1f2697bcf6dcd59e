package simulate

import (
	"time"

	"redoubt.dev/redoubt/bench/measure"
)

// Outcome is how a load fared. Pod times are sums over instances, from when
// each was made until it was gone.
type Outcome struct {
	// Requests arrived; of them Late waited for more than Setup.Late, and Lost
	// found the queue full.
	Requests, Late, Lost int
	// Needed is the least number of pods that the highest rate keeps busy,
	// MostPods how many there were at a time.
	Needed, MostPods int
	Running, Frozen  time.Duration
	// Least is what Running would be if every pod were always full.
	Least time.Duration
	// Ended is when the last instance was gone, or the simulation's end.
	Ended time.Duration

	waits []time.Duration
}

// waited counts a request that is answered.
func (o *Outcome) waited(wait time.Duration, s Setup) {
	o.waits = append(o.waits, wait)
	o.Least += s.Service / time.Duration(s.Revision.Spec.ContainerConcurrency)
	if wait > s.Late {
		o.Late++
	}
}

// Wait is the time in milliseconds that the share q of the answered requests
// did not wait longer than.
func (o *Outcome) Wait(q float64) float64 {
	return measure.Quantile(measure.Milliseconds(o.waits), q)
}

// Cost is the running time by the least possible; 0 when there was no request.
func (o *Outcome) Cost() float64 {
	if o.Least == 0 {
		return 0
	}
	return float64(o.Running) / float64(o.Least)
}
