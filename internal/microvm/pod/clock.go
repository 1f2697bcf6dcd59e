package pod

import (
	"context"
	"time"

	"github.com/containerd/log"
	"redoubt.dev/redoubt/internal/wire"
)

// clockPeriod is how often a guest's clock is compared with the host's, as often
// as NTP does at first (RFC 5905). The guest counts on it.
const clockPeriod = 64 * time.Second

// keepTime keeps the guest's clock in step with the host's, which its own
// processor's counter leaves little by little, and by much where the host's is set
// or the machine stood still.
func (p *Pod) keepTime(ctx context.Context) {
	tick := time.NewTicker(clockPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if p.Frozen() {
				continue // the question would keep it busy when it is thawed
			}
		case <-p.resumed:
		}
		if err := p.correctClock(ctx); err != nil && ctx.Err() == nil {
			log.L.WithError(err).Warn("the guest's clock is not kept in step")
		}
	}
}

// correctClock asks for the guest's time, as NTP's clients do (RFC 5905, section
// 8), and has it corrected by the difference, if it is more than the time that the
// answer took leaves in doubt.
func (p *Pod) correctClock(ctx context.Context) error {
	asked := time.Now()
	var guest wire.Clock
	if err := p.session.Call(ctx, wire.SetClock, &wire.Correction{}, &guest); err != nil {
		return err
	}
	doubt := time.Since(asked) / 2
	by := time.Duration(asked.Add(doubt).UnixNano() - guest.Time)
	if by.Abs() <= doubt {
		return nil
	}
	return p.session.Call(ctx, wire.SetClock, &wire.Correction{By: int64(by)}, &guest)
}
