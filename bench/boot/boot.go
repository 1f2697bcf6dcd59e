// Package boot measures the time from the command until the platform is ready:
// the first time, when everything is made anew, and again on the same data.
// It leaves the instance running.
package boot

import (
	"context"
	"time"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
)

const (
	suite = "boot"
	// boots of each kind.
	boots = 3
	// bar is the promise, in milliseconds.
	bar = 10_000
)

// Run boots the instance, which does not run, several times.
func Run(ctx context.Context, p *platform.Platform) ([]measure.Result, error) {
	var first, again []time.Duration
	for i := range boots {
		if i > 0 {
			if err := p.Purge(ctx); err != nil {
				return nil, err
			}
		}
		took, err := p.Boot(ctx)
		if err != nil {
			return nil, err
		}
		first = append(first, took)
		if err := p.Down(ctx); err != nil {
			return nil, err
		}
		if took, err = p.Boot(ctx); err != nil {
			return nil, err
		}
		again = append(again, took)
	}
	results := []measure.Result{
		measure.Of(suite, "new instance", "command to ready", "ms", measure.Milliseconds(first)...),
		measure.Of(suite, "its data again", "command to ready", "ms", measure.Milliseconds(again)...),
	}
	for i := range results {
		results[i].Bar = bar
	}
	return results, nil
}
