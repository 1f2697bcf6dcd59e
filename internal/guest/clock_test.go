package guest

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCorrection(t *testing.T) {
	for by, want := range map[time.Duration]unix.Timex{
		-time.Millisecond:        {Modes: unix.ADJ_OFFSET | unix.ADJ_STATUS | unix.ADJ_NANO | unix.ADJ_TIMECONST, Status: unix.STA_PLL, Offset: -1e6, Constant: timeConstant},
		1500 * time.Millisecond:  {Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: unix.Timeval{Sec: 1, Usec: 5e8}},
		-1500 * time.Millisecond: {Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: unix.Timeval{Sec: -2, Usec: 5e8}},
		-time.Hour:               {Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: unix.Timeval{Sec: -3600}},
	} {
		if got := *correction(by); got != want {
			t.Errorf("%v is %+v and not %+v", by, got, want)
		}
	}
}
