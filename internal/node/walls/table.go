package walls

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"redoubt.dev/redoubt/internal/nft"
	"redoubt.dev/redoubt/internal/node/walls/policy"
	"redoubt.dev/redoubt/internal/node/walls/ruleset"
)

// table is what the kernel has been given. It is one goroutine's at a time.
type table struct {
	pods netip.Prefix
	// now is what the kernel has; nil while that is not known.
	now *ruleset.Ruleset
	// before is what it had when it was last known.
	before *ruleset.Ruleset
	// stale are addresses that others had, or that were within other walls: what
	// the kernel knows of their connections is to be forgotten.
	stale map[netip.Addr]bool
}

// set makes the table what it is to be. Where the kernel does not take that, it
// gets what strict returns, in which policies allow nothing, and where it does
// not take that either, the pods' network is closed. What is open between addresses that have changed
// hands is judged anew: a packet that answers another passes every wall, and an
// address must not bring its next pod the answers of its last one.
func (t *table) set(ctx context.Context, want *ruleset.Ruleset, strict func() *ruleset.Ruleset) error {
	if err := t.apply(ctx, want, strict); err != nil {
		return err
	}
	for _, address := range policy.Moved(t.before, want) {
		t.stale[address] = true
	}
	t.before = want
	if len(t.stale) == 0 {
		return nil
	}
	if err := forget(t.stale); err != nil {
		return fmt.Errorf("end connections of addresses that have changed hands: %w", err)
	}
	clear(t.stale)
	return nil
}

func (t *table) apply(ctx context.Context, want *ruleset.Ruleset, strict func() *ruleset.Ruleset) error {
	var err error
	if t.now != nil {
		if err = ruleset.Apply(ctx, t.now, want); err == nil {
			t.now = want
			return nil
		}
		slog.Error("change walls", "error", err)
	}
	t.now = nil
	if err = nft.Apply(ctx, want.Replace()); err == nil {
		t.now = want
		return nil
	}
	if less := strict(); nft.Apply(ctx, less.Replace()) == nil {
		slog.Error("make walls: until the kernel takes all of them, network policies allow nothing", "error", err)
		t.now = less
		return nil
	}
	if closed := nft.Apply(ctx, ruleset.Closed(t.pods).Replace()); closed != nil {
		return fmt.Errorf("make walls: %w; what stood before stands on, since the pods' network cannot be closed either: %w", err, closed)
	}
	return fmt.Errorf("make walls: %w; the pods' network is closed", err)
}
