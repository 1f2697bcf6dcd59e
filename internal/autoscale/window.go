package autoscale

import (
	"math"
	"time"
)

// maxWindow is the longest window that a revision may ask for.
const maxWindow = time.Hour

// Window holds a measure of the last hour, a value a second.
type Window struct {
	first   time.Time // of the oldest sample ever recorded
	seconds map[int64]float64
}

// Add adds a value to the second that at is in: those of several gateways add
// up.
func (w *Window) Add(at time.Time, value float64) {
	if w.seconds == nil {
		w.seconds = map[int64]float64{}
		w.first = at
	}
	w.seconds[at.Unix()] += value
	for s := range w.seconds {
		if s <= at.Add(-maxWindow).Unix() {
			delete(w.seconds, s)
		}
	}
}

// eldest is what the first second of a weighted window counts for, beside the
// last one.
const eldest = 0.001

// Average is the mean over the window that ends at now; where it is weighted,
// what a second counts for falls exponentially with its age. A second without a
// report counts as zero, but not the time before the first one: a new
// revision is not thought idle because it is new.
func (w *Window) Average(now time.Time, length time.Duration, weighted bool) float64 {
	if len(w.seconds) == 0 {
		return 0
	}
	seconds := int64(length.Seconds())
	decay := 1.0
	if weighted {
		decay = math.Pow(eldest, 1/float64(seconds))
	}
	if age := now.Unix() - w.first.Unix() + 1; age < seconds {
		seconds = max(age, 1)
	}
	var sum, weights float64
	for age, weight := int64(0), 1.0; age < seconds; age, weight = age+1, weight*decay {
		sum += weight * w.seconds[now.Unix()-age]
		weights += weight
	}
	return sum / weights
}
