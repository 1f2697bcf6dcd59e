// Package measure is what every benchmark has in common: taking samples in
// interleaved order, summing them up, and printing and keeping the results.
//
// Times of one run are compared with each other only. A machine that is busy
// slows all subjects down alike, so ratios mean something where seconds do not.
package measure

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Result is one number and what it is about.
type Result struct {
	// Suite is the benchmark, Subject what was measured (a class, a
	// component), Metric what of it.
	Suite   string `json:"suite"`
	Subject string `json:"subject"`
	Metric  string `json:"metric"`
	// Unit is "ms", "us" (a thousandth of it), "MB" (a million bytes), "kB" (a thousand), "MiB", "m" (thousandths of a
	// processor), "%" or "/s".
	Unit string `json:"unit"`
	// Samples is how many values P50 and P95 are of; with one, they are equal.
	Samples int     `json:"samples"`
	P50     float64 `json:"p50"`
	P95     float64 `json:"p95"`
	// Ratio is P50 by that of the peer, which has 1; 0 where there is none.
	Ratio float64 `json:"ratio,omitempty"`
	// Bar is what P50 should not exceed; 0 where none is promised.
	Bar float64 `json:"bar,omitempty"`
}

// Over says whether a bar is exceeded.
func (r Result) Over() bool { return r.Bar > 0 && r.P50 > r.Bar }

// Of sums up values of one kind.
func Of(suite, subject, metric, unit string, values ...float64) Result {
	return Result{
		Suite: suite, Subject: subject, Metric: metric, Unit: unit,
		Samples: len(values), P50: Quantile(values, 0.5), P95: Quantile(values, 0.95),
	}
}

// Within is the result with a bar that P50 should not exceed.
func (r Result) Within(bar float64) Result {
	r.Bar = bar
	return r
}

// Milliseconds are times as values.
func Milliseconds(times []time.Duration) []float64 {
	values := make([]float64, len(times))
	for i, t := range times {
		values[i] = float64(t) / float64(time.Millisecond)
	}
	return values
}

// Quantile is the value that the share q of values does not exceed, between
// neighbours by distance; 0 of none.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low, share := math.Modf(at)
	if share == 0 {
		return sorted[int(low)]
	}
	return sorted[int(low)]*(1-share) + sorted[int(low)+1]*share
}

// Compare sets the ratio of every result to the one of the same suite and
// metric whose subject is peer.
func Compare(results []Result, peer string) {
	for i := range results {
		r := &results[i]
		for _, p := range results {
			if p.Suite == r.Suite && p.Metric == r.Metric && p.Subject == peer && p.P50 > 0 {
				r.Ratio = r.P50 / p.P50
			}
		}
	}
}

// Interleave calls once for every subject in turn, round after round, each
// round beginning with another subject: what drifts or disturbs hits all
// alike. The first round warms up and is not counted: record is false then.
func Interleave(subjects []string, rounds int, once func(subject string, record bool) error) error {
	for round := range rounds + 1 {
		for i := range subjects {
			subject := subjects[(i+round)%len(subjects)]
			if err := once(subject, round > 0); err != nil {
				return fmt.Errorf("%s, round %d: %w", subject, round, err)
			}
		}
	}
	return nil
}
