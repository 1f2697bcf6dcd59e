// Package allowance tells what takes more of a processor than it is allowed to,
// for longer than anything does that only begins.
package allowance

import "time"

// Bucket is a token bucket, upside down: it holds what was used above an
// allowance. Its debt is the time of a processor.
type Bucket struct {
	// Burst is how much debt there may be; Most is what is remembered of it, so
	// that it is paid some time after the last use.
	Burst, Most time.Duration

	debt time.Duration
	over bool
}

// Add counts what was used of processors in the time that has passed, of which
// allowed, a number of processors, may be used always. It says whether it is
// too much: from above the burst until all debt is paid.
func (b *Bucket) Add(used, passed time.Duration, allowed float64) (over bool) {
	b.debt = min(max(0, b.debt+used-time.Duration(allowed*float64(passed))), b.Most)
	b.over = b.debt > b.Burst || b.over && b.debt > 0
	return b.over
}

// Paid says that there is no debt.
func (b *Bucket) Paid() bool { return b.debt == 0 }
