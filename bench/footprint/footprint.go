// Package footprint measures what the platform takes when nothing happens:
// the time of its boot, the memory of each process, and the processor time of
// Redoubt's own.
package footprint

import (
	"context"
	"fmt"
	"slices"
	"time"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/proc"
)

const (
	suite = "footprint"
	// settle is how long the platform may finish what its boot began, idle how
	// long it is watched then.
	settle, idle = 15 * time.Second, 20 * time.Second
	// Bars, in MB and in percent of one processor.
	controlPlaneBar, ownBar, idleBar = 750, 120, 1
)

// controlPlane and own are the groups that have a bar.
var (
	controlPlane = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"}
	own          = []string{"controller", "gateway", "node"}
)

// Run measures the instance that has just been booted.
func Run(ctx context.Context, p *platform.Platform) ([]measure.Result, error) {
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	before, err := look(ctx, p)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := sleep(ctx, idle); err != nil {
		return nil, err
	}
	after, err := look(ctx, p)
	if err != nil {
		return nil, err
	}
	return sumUp(before, after, time.Since(began)), nil
}

// process is what the kernel says of one at a moment.
type process struct {
	name string
	// resident is its memory, and share that memory with pages of several
	// processes counted in parts (PSS); in bytes.
	resident, share int64
	// busy is the processor time that it has used.
	busy time.Duration
}

func look(ctx context.Context, p *platform.Platform) ([]process, error) {
	all, err := cluster.Processes(ctx, p.Inst)
	if err != nil {
		return nil, err
	}
	var found []process
	for _, s := range all {
		memory, err := proc.MemoryOf(s.PID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		times, err := proc.TimesOf(s.PID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		found = append(found, process{name: s.Name, resident: memory.Resident, share: memory.Share, busy: times.Own})
	}
	return found, nil
}

func sumUp(before, after []process, watched time.Duration) []measure.Result {
	was := map[string]time.Duration{}
	for _, p := range before {
		was[p.name] = p.busy
	}
	var results []measure.Result
	for i := range after {
		p := &after[i]
		p.busy -= was[p.name]
		results = append(results,
			measure.Of(suite, p.name, "resident", "MB", megabytes(p.resident)),
			measure.Of(suite, p.name, "resident, shared in parts", "MB", megabytes(p.share)))
	}
	kubernetes, ours := sum(after, controlPlane), sum(after, own)
	// The bars are for processes together: memory that they share is there once.
	return append(results,
		measure.Of(suite, "control plane", "resident", "MB", megabytes(kubernetes.resident)),
		measure.Of(suite, "control plane", "resident, shared in parts", "MB", megabytes(kubernetes.share)).Within(controlPlaneBar),
		measure.Of(suite, "Redoubt's roles", "resident", "MB", megabytes(ours.resident)),
		measure.Of(suite, "Redoubt's roles", "resident, shared in parts", "MB", megabytes(ours.share)).Within(ownBar),
		measure.Of(suite, "Redoubt's roles", "processor when idle", "%", 100*ours.busy.Seconds()/watched.Seconds()).Within(idleBar))
}

// sum adds up the processes that are named.
func sum(all []process, names []string) process {
	var total process
	for _, p := range all {
		if slices.Contains(names, p.name) {
			total.resident += p.resident
			total.share += p.share
			total.busy += p.busy
		}
	}
	return total
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
