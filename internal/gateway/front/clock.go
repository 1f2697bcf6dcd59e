package front

import (
	"sync/atomic"
	"time"
)

const (
	// tick is how exact deadlines are: none is early, and none is later than
	// two ticks.
	tick = 100 * time.Millisecond
	// goneTicks is after how many ticks it is looked whether clients that wait
	// are still there.
	goneTicks = 5
)

// clock is a time that is cheap to read: setting a deadline for every read and
// write of every request costs more than one goroutine that looks at all
// connections now and then.
type clock struct {
	epoch time.Time
	now   atomic.Int64 // nanoseconds since epoch, as of the last tick
	quit  chan struct{}
	done  chan struct{}
}

// start calls sweep at every tick.
func (c *clock) start(sweep func(now int64, look bool)) {
	c.epoch, c.quit, c.done = time.Now(), make(chan struct{}), make(chan struct{})
	c.now.Store(1)
	go func() {
		defer close(c.done)
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-c.quit:
				return
			case <-ticker.C:
				now := int64(time.Since(c.epoch))
				c.now.Store(now)
				sweep(now, n%goneTicks == 0)
			}
		}
	}()
}

func (c *clock) stop() {
	close(c.quit)
	<-c.done
}

// in is the moment d from now, rounded up.
func (c *clock) in(d time.Duration) int64 { return c.now.Load() + int64(d+tick) }
