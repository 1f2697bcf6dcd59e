package pod

import (
	"context"
	"time"

	"github.com/containerd/log"
	"redoubt.dev/redoubt/internal/wire"
)

const (
	// clockPeriod is how often a guest's clock is compared with the host's, as
	// often as NTP does at first (RFC 5905). The guest counts on it.
	clockPeriod = 64 * time.Second
	// clockDoubt is how long an answer may take from which a correction is made:
	// half of it may be wrong.
	clockDoubt = 100 * time.Millisecond
	// clockTries is how often a busy or standing guest is asked in one period.
	clockTries = 5
)

// keepTime keeps the guest's clock in step with the host's, which its own
// processor's counter leaves by seconds a day, and by more where the host's is
// set or the machine stood still.
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
// 8), and has it corrected by the difference. A guest that takes too long to
// answer, every time, keeps its own.
func (p *Pod) correctClock(ctx context.Context) error {
	for range clockTries {
		asked := time.Now()
		var guest wire.Clock
		if err := p.session.Call(ctx, wire.SetClock, &wire.Correction{}, &guest); err != nil {
			return err
		}
		took := time.Since(asked)
		if took > clockDoubt {
			continue
		}
		by := asked.Add(took/2).UnixNano() - guest.Time
		return p.session.Call(ctx, wire.SetClock, &wire.Correction{By: by}, &guest)
	}
	return nil
}
