// Package microvm measures virtual machines by themselves, without container
// runtime or Kubernetes: a boot against a copy of a template, what a copy
// takes, and how long the whole machine needs to stop and go on. The peer is
// the boot.
package microvm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/microvm/kvm"
	"redoubt.dev/redoubt/internal/microvm/tap"
	"redoubt.dev/redoubt/internal/microvm/template"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
	"redoubt.dev/redoubt/internal/proc"
	"redoubt.dev/redoubt/internal/wire"
)

const (
	suite  = "microvm"
	rounds = 5
	// crowd is how many copies are started at once.
	crowd = 50
	// user begins the range of users that the machines run as.
	user = 0x7fff0000
)

// bench is one run: a store of templates that goes with it.
type bench struct {
	root  qemu.Root
	made  *template.Template
	shape vmm.Shape
}

// Run measures with the guest image that 'make guest' built, under KVM where
// it works.
func Run(ctx context.Context, _ *platform.Platform) (results []measure.Result, err error) {
	dir, err := os.MkdirTemp("", "redoubt-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, took, err := prepare(ctx, dir)
	if err != nil {
		return nil, err
	}
	results = append(results, measure.Of(suite, "template", "made in", "ms", milliseconds(took)))
	for _, part := range []func(context.Context) ([]measure.Result, error){b.starts, b.one, b.many} {
		more, err := part(ctx)
		if err != nil {
			return nil, err
		}
		results = append(results, more...)
	}
	return results, nil
}

func prepare(ctx context.Context, dir string) (*bench, time.Duration, error) {
	image, err := filepath.Abs(filepath.Join("bin", "guest"))
	if err != nil {
		return nil, 0, err
	}
	store := template.Store{Dir: dir, Image: qemu.ImageIn(image), Await: wire.AwaitGuest}
	answer, err := kvm.Probe(ctx, dir, store.Image, store.Await)
	if err != nil {
		return nil, 0, err
	}
	b := &bench{shape: vmm.Shape{Accelerator: answer.Accelerator(), CPUs: 2, Memory: 256 << 20, MaxMemory: 2 << 30}}
	if b.root, err = qemu.Prepare(ctx, filepath.Join(dir, "roots"), store.Image); err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	b.made, err = store.Open(ctx, b.shape)
	return b, time.Since(begin), err
}

// start starts a machine, copied or booted, and waits until its agent has done
// its first work: the machine is a pod's own then.
func (b *bench) start(ctx context.Context, number int, copied bool) (vmm.Machine, error) {
	card, err := tap.Unconnected()
	if err != nil {
		return nil, err
	}
	defer card.Close()
	config := vmm.Config{Shape: b.shape, Tap: card, UID: user + uint32(number), GID: user + uint32(number)}
	var m vmm.Machine
	if copied {
		m, err = b.made.Clone(ctx, config)
	} else {
		m, err = b.boot(ctx, config)
	}
	if err != nil {
		return nil, err
	}
	if err := configure(ctx, m); err != nil {
		m.Kill()
		return nil, fmt.Errorf("%w; the machine: %s", err, m.Exit().Reason)
	}
	return m, nil
}

func (b *bench) boot(ctx context.Context, config vmm.Config) (vmm.Machine, error) {
	m, err := qemu.Start(ctx, b.root, config)
	if err != nil {
		return nil, err
	}
	if err := wire.AwaitGuest(m.Channel()); err != nil {
		m.Kill()
		return nil, err
	}
	return m, nil
}

func configure(ctx context.Context, m vmm.Machine) error {
	session, err := wire.Host(m.Channel())
	if err != nil {
		return err
	}
	sandbox := wire.Sandbox{Hostname: "bench", Time: time.Now().UnixNano(), Entropy: make([]byte, 64), ShmSize: 64 << 20}
	_, _ = rand.Read(sandbox.Entropy) // never fails
	return session.Call(ctx, wire.Configure, &sandbox, &wire.Guest{})
}

// starts compares booting with copying.
func (b *bench) starts(ctx context.Context) ([]measure.Result, error) {
	taken := map[string][]time.Duration{}
	err := measure.Interleave([]string{"boot", "copy"}, rounds, func(subject string, record bool) error {
		begin := time.Now()
		m, err := b.start(ctx, 0, subject == "copy")
		if err != nil {
			return err
		}
		took := time.Since(begin)
		m.Kill()
		if record {
			taken[subject] = append(taken[subject], took)
		}
		return nil
	})
	results := []measure.Result{
		measure.Of(suite, "boot", "ready for its pod", "ms", measure.Milliseconds(taken["boot"])...),
		measure.Of(suite, "copy", "ready for its pod", "ms", measure.Milliseconds(taken["copy"])...),
	}
	measure.Compare(results, "boot")
	return results, err
}

// one measures what can be done with a machine that runs.
func (b *bench) one(ctx context.Context) ([]measure.Result, error) {
	m, err := b.start(ctx, 0, true)
	if err != nil {
		return nil, err
	}
	defer m.Kill()
	var pauses, resumes []time.Duration
	for range 20 {
		begin := time.Now()
		if err := m.Pause(ctx); err != nil {
			return nil, err
		}
		paused := time.Now()
		if err := m.Resume(ctx); err != nil {
			return nil, err
		}
		pauses, resumes = append(pauses, paused.Sub(begin)), append(resumes, time.Since(paused))
	}
	results := []measure.Result{
		measure.Of(suite, "copy", "pause", "ms", measure.Milliseconds(pauses)...),
		measure.Of(suite, "copy", "resume", "ms", measure.Milliseconds(resumes)...),
	}
	for i := range results {
		results[i].Bar = 5
	}
	return results, nil
}

// many starts a crowd at once and weighs it.
func (b *bench) many(ctx context.Context) ([]measure.Result, error) {
	machines := make([]vmm.Machine, crowd)
	defer func() {
		for _, m := range machines {
			if m != nil {
				m.Kill()
			}
		}
	}()
	begin := time.Now()
	starts, limited := errgroup.WithContext(ctx)
	for i := range machines {
		starts.Go(func() (err error) {
			machines[i], err = b.start(limited, i, true)
			return err
		})
	}
	if err := starts.Wait(); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	var private []float64
	for _, m := range machines {
		// Its own, and the pages of the template that it has written.
		memory, err := proc.MemoryOf(m.PID())
		if err != nil {
			return nil, err
		}
		private = append(private, float64(memory.Anonymous)/1e6)
	}
	weight := measure.Of(suite, fmt.Sprintf("%d copies", crowd), "private memory of each", "MB", private...)
	weight.Bar = 60
	return []measure.Result{
		measure.Of(suite, fmt.Sprintf("%d copies", crowd), "all ready", "ms", milliseconds(took)),
		weight,
	}, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
