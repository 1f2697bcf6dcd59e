package guest

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

const (
	// stepped is from where on a clock that is wrong is set rather than led: what
	// STEPT is to RFC 5905, whose clients are far away and ours is not.
	stepped = 20 * time.Millisecond
	// timeConstant is the binary logarithm of the seconds between two corrections
	// by the host, by which the kernel weighs them (RFC 5905, appendix A.5.5.6).
	timeConstant = 6
)

// setClock sets the clock of a machine that was copied: it stood still.
func setClock(at int64) error {
	if at <= 0 {
		return nil
	}
	tv := unix.NsecToTimeval(at)
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("set the clock to %v: %w", time.Unix(0, at), err)
	}
	return nil
}

// adjustClock corrects the clock and says what it shows then.
func adjustClock(c *wire.Correction) (*wire.Clock, error) {
	if c.By != 0 {
		if _, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, correction(time.Duration(c.By))); err != nil {
			return nil, fmt.Errorf("correct the clock by %v: %w", time.Duration(c.By), err)
		}
	}
	return &wire.Clock{Time: time.Now().UnixNano()}, nil
}

// correction has the kernel lead the clock to the right time and learn how much
// too fast or slow it goes, or set it where it is far off.
func correction(by time.Duration) *unix.Timex {
	if by.Abs() <= stepped {
		return &unix.Timex{
			Modes:  unix.ADJ_OFFSET | unix.ADJ_STATUS | unix.ADJ_NANO | unix.ADJ_TIMECONST,
			Status: unix.STA_PLL, Offset: int64(by), Constant: timeConstant,
		}
	}
	// In this mode microseconds are nanoseconds, and never negative.
	seconds, rest := by/time.Second, by%time.Second
	if rest < 0 {
		seconds, rest = seconds-1, rest+time.Second
	}
	return &unix.Timex{
		Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO,
		Time:  unix.Timeval{Sec: int64(seconds), Usec: int64(rest)},
	}
}
