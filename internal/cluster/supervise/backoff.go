package supervise

import "time"

const (
	firstPause = 100 * time.Millisecond
	longest    = 10 * time.Second
	// stable is how long a program must have run for its next end to count as
	// the first.
	stable = 10 * time.Second
)

// backoff is the pause before a restart: short at first, because most ends
// are a single accident, and doubled up to ten seconds for a program that
// cannot run.
type backoff struct{ pause time.Duration }

func (b *backoff) next(ran time.Duration) time.Duration {
	switch {
	case b.pause == 0 || ran >= stable:
		b.pause = firstPause
	default:
		b.pause = min(2*b.pause, longest)
	}
	return b.pause
}
