// Package overhead measures what a pod takes beside its containers, per
// handler, and says what each RuntimeClass should declare as podFixed. Of
// several idle pods it weighs everything that runs because of them, in their
// control groups and outside; their containers do nothing and take nothing.
package overhead

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"redoubt.dev/redoubt/bench/idlepod"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
)

const (
	suite = "overhead"
	// count is how many pods of a handler run at a time.
	count = 10
	// settle is how long they may finish their start, watch how long their
	// idling is measured.
	settle, watch = 20 * time.Second, 10 * time.Second
)

// weights are what is known of one handler's pods.
type weights struct {
	starts        []time.Duration // processor time of each start
	before, after []Weight
}

// Run measures every handler of the node and compares with what the classes
// declare.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	groups, err := cgroup.New(p.Inst.ID())
	if err != nil {
		return nil, err
	}
	classes, err := declared()
	if err != nil {
		return nil, err
	}
	pods, err := idlepod.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pods.Close()) }()
	handlers, err := pods.Handlers(ctx)
	if err != nil {
		return nil, err
	}
	for _, handler := range handlers {
		w, err := weighMany(ctx, pods, groups, handler)
		if err != nil {
			return results, fmt.Errorf("%s: %w", handler, err)
		}
		results = append(results, w.results(handler)...)
		class, ok := classes[handler]
		if !ok {
			continue
		}
		advice := w.advice()
		if advice != class {
			fmt.Fprintf(os.Stderr, "         %s declares %s; measured: %s\n", handler, class, advice)
		}
		results = append(results, compare(handler, advice, class)...)
	}
	measure.Compare(results, idlepod.Plain)
	return results, nil
}

// weighMany weighs pods of a handler once they idle. The first pod is not
// counted: it may have to make what the others use.
func weighMany(ctx context.Context, pods *idlepod.Maker, groups cgroup.Tree, handler string) (w weights, err error) {
	var made []idlepod.Pod
	defer func() {
		for _, pod := range made {
			err = errors.Join(err, pods.Remove(context.WithoutCancel(ctx), pod))
		}
	}()
	for range count + 1 {
		pod, err := pods.Make(ctx, handler)
		if err != nil {
			return w, err
		}
		made = append(made, pod)
		weight, err := Weigh(groups, pod.Group, pod.ID)
		if err != nil {
			return w, err
		}
		w.starts = append(w.starts, weight.Busy)
	}
	w.starts = w.starts[1:]
	for _, look := range []struct {
		wait time.Duration
		into *[]Weight
	}{{settle, &w.before}, {watch, &w.after}} {
		select {
		case <-ctx.Done():
			return w, ctx.Err()
		case <-time.After(look.wait):
		}
		for _, pod := range made[1:] {
			weight, err := Weigh(groups, pod.Group, pod.ID)
			if err != nil {
				return w, err
			}
			*look.into = append(*look.into, weight)
		}
	}
	return w, nil
}

// idle is the processor time that each pod used while it was watched, in
// thousandths of a processor.
func (w weights) idle() []float64 {
	values := make([]float64, len(w.after))
	for i := range w.after {
		values[i] = 1000 * (w.after[i].Busy - w.before[i].Busy).Seconds() / watch.Seconds()
	}
	return values
}

// memory is one of the sizes of each pod, in units of so many bytes.
func (w weights) memory(unit float64, of func(Weight) int64) []float64 {
	values := make([]float64, len(w.after))
	for i := range w.after {
		values[i] = float64(of(w.after[i])) / unit
	}
	return values
}

func (w weights) results(handler string) []measure.Result {
	const megabyte = 1e6
	return []measure.Result{
		measure.Of(suite, handler, "memory in all", "MB", w.memory(megabyte, Weight.Total)...),
		measure.Of(suite, handler, "its processes, shared in parts", "MB", w.memory(megabyte, func(w Weight) int64 { return w.Share })...),
		measure.Of(suite, handler, "its processes, without files", "MB", w.memory(megabyte, func(w Weight) int64 { return w.Own })...),
		measure.Of(suite, handler, "charged to its control group", "MB", w.memory(megabyte, func(w Weight) int64 { return w.Charged })...),
		measure.Of(suite, handler, "outside of its control group", "MB", w.memory(megabyte, func(w Weight) int64 { return w.Outside })...),
		measure.Of(suite, handler, "processor time of its start", "ms", measure.Milliseconds(w.starts)...),
		measure.Of(suite, handler, "processor when idle", "m", w.idle()...),
	}
}
