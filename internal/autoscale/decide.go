// Package autoscale decides how many instances a revision should have.
//
// Decide is a pure function of settings, measures and time: the algorithm is
// that of Knative's pod autoscaler (knative/serving, docs/scaling/SYSTEM.md),
// a slow average that is followed and a fast one that is obeyed in a panic.
// Tracker feeds it what gateways report, and Scaler is the loop around both.
package autoscale

import (
	"math"
	"time"
)

// Measures are what is known of a revision at one moment.
type Measures struct {
	// Stable and Panic are the metric's averages over the two windows, summed
	// over all gateways.
	Stable, Panic float64
	// Waiting says that a request waits for an instance now.
	Waiting bool
	// Ready is the number of ready instances.
	Ready int32
	// LastRequest is when there was load last; the revision's creation, if
	// there never was.
	LastRequest time.Time
}

// Memory is what a decision leaves to the next one.
type Memory struct {
	// Desired is the last decision.
	Desired int32
	// PanicSince is when the panic window last asked for a panic; zero when
	// there is none.
	PanicSince time.Time
	// PanicMax is the highest scale of this panic.
	PanicMax int32
	// Recent are the decisions of the scale-down delay that still count: each is
	// higher than the ones after it.
	Recent []Past
}

// Past is an earlier wish.
type Past struct {
	At    time.Time
	Scale int32
}

// Decide returns the wanted number of instances and what to remember.
func Decide(s Settings, m Measures, memory Memory, now time.Time) (int32, Memory) {
	ready := max(m.Ready, 1)
	stable := bounded(m.Stable/s.Target, ready)
	fast := bounded(m.Panic/s.Target, ready)

	next := Memory{PanicSince: memory.PanicSince, PanicMax: memory.PanicMax, Recent: memory.Recent}
	if float64(fast)/float64(ready) >= s.PanicThreshold {
		next.PanicSince = now
	}
	want := stable
	switch {
	case next.PanicSince.IsZero():
	case now.Sub(next.PanicSince) >= s.Stable:
		next.PanicSince, next.PanicMax = time.Time{}, 0
	default: // never down while in a panic
		next.PanicMax = max(next.PanicMax, fast, stable, memory.Desired)
		want = next.PanicMax
	}
	if m.Waiting {
		want = max(want, 1)
	}
	want, next.Recent = delayed(s, want, next.Recent, now)
	next.Desired = limited(s, want, m, memory, now)
	return next.Desired, next
}

// bounded turns a ratio into a scale that is not too far from the present one.
func bounded(ratio float64, ready int32) int32 {
	scale := math.Ceil(ratio)
	scale = min(scale, math.Ceil(float64(ready)*maxScaleUp))
	return int32(max(scale, math.Floor(float64(ready)/maxScaleDown)*boolean(scale > 0)))
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// delayed is the highest wish of the scale-down delay.
func delayed(s Settings, want int32, recent []Past, now time.Time) (int32, []Past) {
	if s.ScaleDownDelay == 0 {
		return want, nil
	}
	kept := make([]Past, 0, len(recent)+1)
	for _, p := range recent {
		if now.Sub(p.At) < s.ScaleDownDelay && p.Scale > want { // a lower one ends before this one
			kept = append(kept, p)
		}
	}
	kept = append(kept, Past{At: now, Scale: want})
	return kept[0].Scale, kept
}

// limited applies what the owner asked for: bounds, and how zero is reached.
func limited(s Settings, want int32, m Measures, memory Memory, now time.Time) int32 {
	if want == 0 && now.Sub(m.LastRequest) < s.Stable+s.Retention {
		want = min(max(memory.Desired, 0), 1)
	}
	if want > 0 {
		want = max(want, s.Activation)
	}
	want = max(want, s.Min)
	if s.Max > 0 {
		want = min(want, s.Max)
	}
	return want
}
