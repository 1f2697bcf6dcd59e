package autoscale

import (
	"math"
	"time"
)

const (
	// tolerance is how far from the target a use is right all the same.
	tolerance = 0.1
	// maxUseUp bounds one step up as a factor, leastUseUp as a number, whichever
	// is more: a single measurement may be wrong.
	maxUseUp, leastUseUp = 2, 4
)

// Use is what a revision's instances take of a resource.
type Use struct {
	// At is when it was measured.
	At time.Time
	// Total is the sum of those that were measured: of processor time in
	// percent of what each asks for, of memory in MiB.
	Total float64
	// Measured is their number.
	Measured int32
}

// DecideByUse is Decide for the resources of the metrics API. The algorithm is
// that of Kubernetes' horizontal pod autoscaler (its documentation, "Algorithm
// details"): the number that brings the mean use to the target. Ready instances
// that were not measured, such as new ones, count as unused where the others
// ask for more, and as used to the target where they ask for less.
func DecideByUse(s Settings, u Use, ready int32, memory Memory, now time.Time) (int32, Memory) {
	want := wantedByUse(s.Target, u, ready)
	next := Memory{}
	want, next.Recent = delayed(s, want, memory.Recent, now)
	next.Desired = want
	return want, next
}

func wantedByUse(target float64, u Use, ready int32) int32 {
	ready = max(ready, u.Measured, 1)
	if u.Measured == 0 {
		return ready
	}
	ratio := u.Total / float64(u.Measured) / target
	if missing := ready - u.Measured; missing > 0 {
		total := u.Total
		if ratio < 1 {
			total += float64(missing) * target
		}
		of := total / float64(ready) / target
		if (of > 1) != (ratio > 1) {
			return ready // those that are not measured may turn it round
		}
		ratio = of
	}
	if math.Abs(ratio-1) <= tolerance {
		return ready
	}
	most := max(float64(ready)*maxUseUp, leastUseUp)
	return int32(max(min(math.Ceil(ratio*float64(ready)), most), 1))
}
