// Package gateway measures what the gateway adds to a request, beside nginx as
// reverse proxy in front of the same instance and the instance alone, and what it
// takes for connections that nobody uses. All of them are real: a service of the
// platform, the gateway role, Debian's nginx, and wrk, in one network namespace and
// on the same processors.
package gateway

import (
	"context"
	"fmt"
	"net"
	"time"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/bench/wrk"
)

const (
	suite       = "gateway"
	peer        = "nginx"
	rounds      = 3
	connections = 32
	// span is how long one measurement takes.
	span = 2 * time.Second
	// patience is how long the service may take to become ready.
	patience = time.Minute
	// maxAdded is what the gateway may add to the median request, in
	// milliseconds.
	maxAdded = 0.15
)

// subject is one way to the instance.
type subject struct {
	name, address string
}

// Run measures the three ways in turn.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	s, err := deploy(ctx, p)
	if err != nil {
		return nil, err
	}
	defer s.remove()
	nginx, err := startNginx(ctx, p.Inst, s.instance)
	if err != nil {
		return nil, err
	}
	defer nginx.stop()
	ways := []subject{{"direct", s.instance}, {"nginx", nginx.address}, {"gateway", net.JoinHostPort(p.State.NodeIP.String(), "80")}}
	busy, err := load(ctx, p.Inst.NetNS(), ways, s.host, connections)
	if err != nil {
		return nil, err
	}
	for _, w := range ways {
		results = append(results, busy.results(w.name, fmt.Sprintf("%d connections", connections))...)
	}
	calm, err := load(ctx, p.Inst.NetNS(), ways, s.host, 1)
	if err != nil {
		return nil, err
	}
	for _, w := range ways[1:] {
		added := measure.Of(suite, w.name, "added to the median request", "ms", calm.added(w.name, "direct")...)
		added.Bar = maxAdded
		results = append(results, added)
	}
	measure.Compare(results, peer)
	still, err := idle(ctx, p, ways[2].address, s.host)
	if err != nil {
		return nil, err
	}
	return append(results, still), nil
}

// samples are what wrk said, by subject.
type samples map[string][]wrk.Sample

// load measures every way several times, in turn.
func load(ctx context.Context, ns string, ways []subject, host string, connections int) (samples, error) {
	names, addresses := []string{}, map[string]string{}
	for _, w := range ways {
		names, addresses[w.name] = append(names, w.name), w.address
	}
	all := samples{}
	err := measure.Interleave(names, rounds, func(name string, record bool) error {
		duration := span
		if !record {
			duration = time.Second // enough to warm up
		}
		s, err := wrk.Run(ctx, ns, addresses[name], host, connections, duration)
		if err == nil && record {
			all[name] = append(all[name], s)
		}
		return err
	})
	return all, err
}

func (a samples) results(name, at string) []measure.Result {
	var rates, middles, worst []float64
	for _, s := range a[name] {
		rates, middles, worst = append(rates, s.Rate), append(middles, s.P50), append(worst, s.P99)
	}
	return []measure.Result{
		measure.Of(suite, name, "requests, "+at, "/s", rates...),
		measure.Of(suite, name, "median latency, "+at, "ms", middles...),
		measure.Of(suite, name, "99th percentile, "+at, "ms", worst...),
	}
}

// added are the differences of the medians, round by round.
func (a samples) added(name, to string) []float64 {
	var all []float64
	for i, s := range a[name] {
		all = append(all, s.P50-a[to][i].P50)
	}
	return all
}
