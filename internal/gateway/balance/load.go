package balance

import "time"

// Load is a revision's load at one moment. Area and Arrived only grow: the
// difference of two of them is what happened in between.
type Load struct {
	// Area is the sum of the time that requests spent here and in instances,
	// in seconds; per second of time it is the average concurrency.
	Area float64
	// Arrived is the number of requests so far.
	Arrived uint64
	// Active is the number of requests now, Waiting how many of them have no
	// instance.
	Active, Waiting int
	// Ready is the number of instances that take requests.
	Ready int
}

// account adds up the load.
type account struct {
	area    float64
	arrived uint64
	active  int
	changed time.Time
}

// count records that active changes by delta. Callers read the clock before
// they take the lock, so now may be a little earlier than the last change.
func (a *account) count(now time.Time, delta int) {
	if a.active > 0 {
		a.area += float64(a.active) * max(now.Sub(a.changed), 0).Seconds()
	}
	if now.After(a.changed) {
		a.changed = now
	}
	a.active += delta
}
