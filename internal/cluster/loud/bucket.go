package loud

import "time"

const (
	// allowance is the part of a processor that a shim may always use: some
	// thousand lines a second.
	allowance = 0.1
	// burst is what it may use more: the start of a pod takes a tenth of it.
	burst = 500 * time.Millisecond
	// most is the debt that is remembered: a shim that does nothing any more has
	// paid it after ten seconds.
	most = time.Second
)

// bucket is a token bucket, upside down: what was used above the allowance.
type bucket struct {
	debt time.Duration
	loud bool
}

// add counts what was used of a processor in the time that has passed, and says
// whether it is too much: from above the burst until all is paid.
func (b *bucket) add(used, passed time.Duration) (loud bool) {
	b.debt = min(max(0, b.debt+used-time.Duration(allowance*float64(passed))), most)
	b.loud = b.debt > burst || b.loud && b.debt > 0
	return b.loud
}
