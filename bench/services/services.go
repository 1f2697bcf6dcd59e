// Package services measures what services cost by their number: the time from
// applying one until it is ready, with few others and with many, what each of
// the many takes of the control plane and the roles while it has no instance,
// and how long a list of them takes.
package services

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/proc"
)

const (
	suite     = "services"
	namespace = "default"
	rounds    = 10
	few, many = 10, 1000
	// Bars: apply to ready and a list of many in ms, each of the many in kB.
	readyBar, listBar, eachBar = 900, 1000, 100
	// parallel is how many services are made at a time.
	parallel = 16
	// settle is how long the processes may finish what many services began.
	settle = 20 * time.Second
	// patience is how long one service may take to be as it should, and many
	// together.
	patience, manyPatience = time.Minute, 10 * time.Minute
)

// Run measures with few services, and with many.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	program := image.HelloWorld()
	if err := p.Ensure(ctx, program); err != nil {
		return nil, err
	}
	c, err := p.Services()
	if err != nil {
		return nil, err
	}
	b := &bench{Client: c, p: p, image: program.Name}
	defer func() { err = errors.Join(err, b.removeAll()) }()
	var before map[string]int64
	for _, n := range []int{few, many} {
		subject := fmt.Sprintf("among %d", n)
		if err := b.fill(ctx, n); err != nil {
			return nil, err
		}
		memory, err := b.memory(ctx)
		if err != nil {
			return nil, err
		}
		ready, lists, err := b.rounds(ctx)
		if err != nil {
			return nil, err
		}
		results = append(results,
			measure.Of(suite, subject, "applied to ready", "ms", ready...).Within(readyBar),
			measure.Of(suite, subject, "service list", "ms", lists...).Within(listBar))
		if n == many {
			results = append(results, each(before, memory)...)
		}
		before = memory
	}
	measure.Compare(results, fmt.Sprintf("among %d", few))
	return results, nil
}

// each is what one of the many services takes of every process, and of all.
func each(before, after map[string]int64) (results []measure.Result) {
	var sum float64
	for _, name := range slices.Sorted(maps.Keys(after)) {
		takes := float64(after[name]-before[name]) / float64(many-few) / 1000
		sum += takes
		results = append(results, measure.Of(suite, name, "memory for each", "kB", takes))
	}
	return append(results, measure.Of(suite, "all processes", "memory for each", "kB", sum).Within(eachBar))
}

type bench struct {
	client.Client
	p     *platform.Platform
	image string
	made  int
}

// fill makes services without instances until there are n, all of them ready.
func (b *bench) fill(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, manyPatience)
	defer cancel()
	group, making := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for ; b.made < n; b.made++ {
		s := b.service(fmt.Sprintf("bench-services-%d", b.made), "0")
		group.Go(func() error { return b.Create(making, s) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("make service: %w", err)
	}
	return poll(ctx, time.Second, func() (bool, error) {
		var all serving.ServiceList
		err := b.List(ctx, &all, client.InNamespace(namespace))
		return len(all.Items) == n && !slices.ContainsFunc(all.Items, func(s serving.Service) bool { return !s.Status.Conditions.IsTrue(serving.Ready) }), err
	})
}

func (b *bench) service(name, initial string) *serving.Service {
	return platform.NewService(name, "runc", b.image, map[string]string{serving.InitialScaleAnnotation: initial})
}

// rounds makes a service with an instance again and again, and lists all.
func (b *bench) rounds(ctx context.Context) (ready, lists []float64, err error) {
	for round := range rounds + 1 {
		took, err := b.once(ctx)
		if err != nil {
			return nil, nil, err
		}
		began := time.Now()
		if err := b.p.Run(ctx, "service", "list"); err != nil {
			return nil, nil, err
		}
		if list := time.Since(began); round > 0 { // the first warms up
			ready = append(ready, measure.Milliseconds([]time.Duration{took})...)
			lists = append(lists, measure.Milliseconds([]time.Duration{list})...)
		}
	}
	return ready, lists, nil
}

// once applies one service, waits until it is ready, and removes it.
func (b *bench) once(ctx context.Context) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s := b.service("bench-ready", "1")
	began := time.Now()
	if err := b.Create(ctx, s); err != nil {
		return 0, fmt.Errorf("make service: %w", err)
	}
	err = poll(ctx, 5*time.Millisecond, func() (bool, error) {
		err := b.Get(ctx, client.ObjectKeyFromObject(s), s)
		return s.Status.Conditions.IsTrue(serving.Ready), err
	})
	took = time.Since(began)
	if err := errors.Join(err, b.Delete(ctx, s)); err != nil {
		return 0, err
	}
	// Its end is not to be in the next one's time.
	return took, poll(ctx, 100*time.Millisecond, func() (bool, error) {
		pods, err := b.p.Cluster.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + s.Name})
		return err == nil && len(pods.Items) == 0, err
	})
}

// memory is what every process takes, in bytes, shared pages counted in parts.
func (b *bench) memory(ctx context.Context) (map[string]int64, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settle):
	}
	all, err := cluster.Processes(ctx, b.p.Inst)
	if err != nil {
		return nil, err
	}
	taken := map[string]int64{}
	for _, process := range all {
		memory, err := proc.MemoryOf(process.PID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", process.Name, err)
		}
		taken[process.Name] = memory.Share
	}
	return taken, nil
}

func (b *bench) removeAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return b.DeleteAllOf(ctx, &serving.Service{}, client.InNamespace(namespace))
}

// poll asks until the answer is yes or an error.
func poll(ctx context.Context, every time.Duration, is func() (bool, error)) error {
	for {
		if yes, err := is(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("services are not as they should be: %w; see: redoubt logs controller --name bench", ctx.Err())
		case <-time.After(every):
		}
	}
}
