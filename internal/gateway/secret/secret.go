// Package secret reads the secrets that HTTPTriggers and DomainMappings name, one at a time and
// again and again, so that the gateway needs no right to list or follow any.
package secret

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"redoubt.dev/redoubt/internal/gateway/guard"
)

const (
	// period is after how long a secret is read again.
	period = 30 * time.Second
	// firstPause is the first pause after a reading that failed; it doubles up
	// to period.
	firstPause = 250 * time.Millisecond
	// look is how often it is looked for what is due.
	look = 100 * time.Millisecond
	// patience bounds one reading.
	patience = 10 * time.Second
)

// NewReader reads from the cluster of cfg.
func NewReader(cfg *rest.Config) (guard.Reader, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, name types.NamespacedName) (map[string][]byte, error) {
		var s corev1.Secret
		err := c.Get(ctx, name, &s)
		return s.Data, err
	}, nil
}

// Keeper loads guards until Run's context ends.
type Keeper struct {
	read guard.Reader

	mu     sync.Mutex
	guards map[guard.Owner]*schedule // guarded by mu
}

type schedule struct {
	guard *guard.Guard
	due   time.Time
	pause time.Duration
}

// New returns a keeper.
func New(read guard.Reader) *Keeper {
	return &Keeper{read: read, guards: map[guard.Owner]*schedule{}}
}

// Keep takes care of a guard, which inherits from the one that its owner had
// before.
func (k *Keeper) Keep(g *guard.Guard) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if before := k.guards[g.Owner()]; before != nil {
		g.Inherit(before.guard)
	}
	delete(k.guards, g.Owner())
	if g.HasSecrets() {
		k.guards[g.Owner()] = &schedule{guard: g, pause: firstPause}
	}
}

// Forget ends the care of an owner's guard.
func (k *Keeper) Forget(owner guard.Owner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.guards, owner)
}

// Run reads until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			for _, s := range k.dueAt(now) {
				k.load(ctx, s)
			}
		}
	}
}

func (k *Keeper) dueAt(now time.Time) []*schedule {
	k.mu.Lock()
	defer k.mu.Unlock()
	var due []*schedule
	for _, s := range k.guards {
		if !now.Before(s.due) {
			due = append(due, s)
		}
	}
	return due
}

func (k *Keeper) load(ctx context.Context, s *schedule) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.guard.Load(limited, k.read)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		s.due, s.pause = time.Now().Add(period), firstPause
		return
	}
	if ctx.Err() != nil {
		return
	}
	if s.pause >= period { // said once, when it has lasted
		s.pause = period
	} else if s.pause *= 2; s.pause >= period {
		slog.Warn("secrets for a host cannot be used", "error", err)
	}
	s.due = time.Now().Add(s.pause)
}
