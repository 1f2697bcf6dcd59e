// Package noisy measures what one tenant's requests take while another tenant
// does its worst: it floods the node with processes, memory, work, open files,
// files, data and logs, and the gateway with requests and cold starts. Both are
// tenants as an owner makes them, with quotas; the classes share the node's
// kernel, where a neighbour is felt most.
package noisy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
)

const (
	suite = "noisy"
	alone = "alone"
	// most is how many times longer requests may take beside a flood.
	most = 2
	// pause is the time between two requests, length how long they go on.
	pause, length = 5 * time.Millisecond, 3 * time.Second
	rounds        = 5
	// calm is what the node has to clean up after a flood, when its pods have gone;
	// rising what a flood of a pod's has to rise.
	calm, rising = 2 * time.Second, 4 * time.Second
	// patience is how long an instance may take to be there, or a pod to go.
	patience = 2 * time.Minute
)

// Run lets the floods come one after the other, each after a silence that it is
// compared with: what else goes on on the machine changes in between.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	town, err := settle(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, town.leave()) }()
	silent, loud := map[string][]float64{}, map[string][]float64{}
	for range rounds {
		for _, f := range floods {
			times, err := town.inSilence(ctx)
			if err != nil {
				return nil, err
			}
			silent[f.name] = append(silent[f.name], measure.Quantile(times, 0.99))
			if times, err = town.beside(ctx, f); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			loud[f.name] = append(loud[f.name], measure.Quantile(times, 0.99))
		}
	}
	for _, f := range floods {
		metric := "p99 of another's, " + f.name
		before := measure.Of(suite, alone, metric, "ms", silent[f.name]...)
		beside := measure.Of(suite, "flooded", metric, "ms", loud[f.name]...)
		results = append(results, before, beside.Within(math.Ceil(most*before.P50)))
	}
	measure.Compare(results, alone)
	return results, nil
}

// inSilence listens when the flood before has gone.
func (t *town) inSilence(ctx context.Context) (times []float64, err error) {
	if err := errors.Join(t.eventually(ctx, "end of the flood before", func() error { return t.rests(ctx) }), pass(ctx, calm)); err != nil {
		return nil, err
	}
	return t.listen(ctx)
}

// beside listens while a flood lasts.
func (t *town) beside(ctx context.Context, f flood) (times []float64, err error) {
	end, err := t.begin(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if f.wave == nil { // cold starts, of all, are over when they have begun
		if err := pass(ctx, rising); err != nil {
			return nil, err
		}
	}
	return t.listen(ctx)
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
