package autoscale

import "time"

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

// Average is the mean over the window that ends at now. A second without a
// report counts as zero, but not the time before the first one: a new
// revision is not thought idle because it is new.
func (w *Window) Average(now time.Time, length time.Duration) float64 {
	if len(w.seconds) == 0 {
		return 0
	}
	seconds := int64(length.Seconds())
	var sum float64
	for s := now.Unix() - seconds + 1; s <= now.Unix(); s++ {
		sum += w.seconds[s]
	}
	if age := now.Unix() - w.first.Unix() + 1; age < seconds {
		seconds = max(age, 1)
	}
	return sum / float64(seconds)
}
