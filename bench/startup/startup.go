// Package startup measures what the container runtime needs for a pod, through
// the Container Runtime Interface and without anything of Kubernetes' around
// it: sandbox, container, start. The peer is runc.
package startup

import (
	"context"
	"errors"
	"time"

	"redoubt.dev/redoubt/bench/idlepod"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
)

const (
	suite  = "startup"
	rounds = 15
)

// times of one handler, one entry per round.
type times struct{ sandbox, container, total, end []time.Duration }

// Run measures every handler of the node.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	pods, err := idlepod.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pods.Close()) }()
	handlers, err := pods.Handlers(ctx)
	if err != nil {
		return nil, err
	}
	taken := map[string]*times{}
	for _, h := range handlers {
		taken[h] = &times{}
	}
	err = measure.Interleave(handlers, rounds, func(handler string, record bool) error {
		into := taken[handler]
		if !record {
			into = &times{}
		}
		return once(ctx, pods, handler, into)
	})
	if err != nil {
		return nil, err
	}
	for _, h := range handlers {
		t := taken[h]
		results = append(results,
			measure.Of(suite, h, "sandbox, container, start", "ms", measure.Milliseconds(t.total)...),
			measure.Of(suite, h, "sandbox alone", "ms", measure.Milliseconds(t.sandbox)...),
			measure.Of(suite, h, "container and start", "ms", measure.Milliseconds(t.container)...),
			measure.Of(suite, h, "stop and remove", "ms", measure.Milliseconds(t.end)...),
		)
	}
	measure.Compare(results, idlepod.Plain)
	return results, nil
}

// once makes a pod with one container that does nothing, and removes it.
func once(ctx context.Context, pods *idlepod.Maker, handler string, into *times) error {
	pod, err := pods.Make(ctx, handler)
	if err != nil {
		return err
	}
	made := time.Now()
	if err := pods.Remove(ctx, pod); err != nil {
		return err
	}
	into.sandbox = append(into.sandbox, pod.Sandbox)
	into.container = append(into.container, pod.Container)
	into.total = append(into.total, pod.Sandbox+pod.Container)
	into.end = append(into.end, time.Since(made))
	return nil
}
