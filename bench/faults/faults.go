// Package faults measures what it costs when a process of the platform is
// killed while requests come in: how many of them fail, and how long it takes
// until a frozen instance answers again, and one that has to be made.
package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
)

const (
	suite = "faults"
	// peer is a round in which nothing is killed.
	peer   = "nothing"
	rounds = 3
	// recovery is the bar for all that has to work again, in milliseconds.
	recovery = 5000
	// length is how long requests come in, before how long they do before the
	// kill.
	length, before = 8 * time.Second, time.Second
)

// killed are the processes, by the supervisor's names, in the order in which
// they are killed. The supervisor's pauses grow when one ends again and again:
// so each has its turn before any is killed a second time.
var killed = []string{
	peer, "gateway", "node", "controller", "kubelet", "containerd",
	"kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd",
}

// figures are one process's, an entry a round.
type figures struct {
	lost         []float64
	frozen, made []time.Duration
}

// Run kills each process in every round.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	services, err := deploy(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, services.remove()) }()
	all := map[string]*figures{}
	for round := range rounds {
		for _, process := range killed {
			if all[process] == nil {
				all[process] = &figures{}
			}
			if err := services.rest(ctx, round, process); err != nil {
				return nil, err
			}
			if err := services.without(ctx, round, process, all[process]); err != nil {
				return nil, fmt.Errorf("%s was killed: %w", process, err)
			}
		}
	}
	for _, process := range killed {
		f := all[process]
		results = append(results,
			measure.Of(suite, process, fmt.Sprintf("of %d requests, failed", length/pace), "", f.lost...),
			measure.Of(suite, process, "a frozen instance answers after", "ms", measure.Milliseconds(f.frozen)...).Within(recovery),
			measure.Of(suite, process, "a new instance answers after", "ms", measure.Milliseconds(f.made)...).Within(recovery),
		)
	}
	measure.Compare(results, peer)
	return results, nil
}

// without kills a process while requests come in, and waits until everything
// is answered.
func (s *services) without(ctx context.Context, round int, process string, into *figures) error {
	load := make(chan int, 1)
	go func() { load <- s.load(ctx, steady) }()
	time.Sleep(before)
	if err := s.kill(ctx, process); err != nil {
		return err
	}
	var frozen, made time.Duration
	began := time.Now()
	waits, limited := errgroup.WithContext(ctx)
	waits.Go(func() (err error) { frozen, err = s.answers(limited, resting, began); return err })
	waits.Go(func() (err error) { made, err = s.answers(limited, absent(round, process), began); return err })
	if err := waits.Wait(); err != nil {
		return err
	}
	into.lost = append(into.lost, float64(<-load))
	into.frozen, into.made = append(into.frozen, frozen), append(into.made, made)
	return s.Delete(ctx, s.made[len(s.made)-1])
}

func (s *services) kill(ctx context.Context, process string) error {
	if process == peer {
		return nil
	}
	pid, err := s.platform.Process(ctx, process)
	if err != nil {
		return err
	}
	return unix.Kill(pid, unix.SIGKILL)
}
