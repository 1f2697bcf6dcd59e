package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/instance"
)

// renewal is how often it is looked whether certificates end soon; they have
// pki.RenewBefore left then.
const renewal = 24 * time.Hour

// Rotate makes every certificate of a running instance but its authorities'
// anew, and returns when every component has its own. Pods run on, and requests
// wait. The error is instance.ErrNotRunning when there is no supervisor.
func Rotate(ctx context.Context, inst instance.Instance) error {
	resp, err := control(ctx, inst, http.MethodPost, "/certificates")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		const enough = 4 << 10
		why, _ := io.ReadAll(io.LimitReader(resp.Body, enough))
		return fmt.Errorf("rotate certificates: %s; run the command again", strings.TrimSpace(string(why)))
	}
	return nil
}

// renew makes certificates anew that end soon, until ctx ends.
func (b *boot) renew(ctx context.Context) error {
	ticker := time.NewTicker(renewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := b.rotate(ctx, false); err != nil && ctx.Err() == nil {
				fmt.Fprintf(b.out, "certificates were not renewed, which is tried again in %v: %v\n", renewal, err)
			}
		}
	}
}

// rotate makes certificates anew: all, or those that end soon. Some programs
// would see new files by themselves, some never; so where anything is new, all
// that have a certificate are started again.
func (b *boot) rotate(ctx context.Context, all bool) error {
	b.rotating.Lock()
	defer b.rotating.Unlock()
	made, err := b.makeCertificates(all)
	b.renewed = b.renewed || made
	if err != nil || !b.renewed {
		return err
	}
	if err := b.restart(ctx); err != nil {
		return err
	}
	b.renewed = false
	return nil
}

// restart starts programs again, what the others need before them. containerd
// has no certificate.
func (b *boot) restart(ctx context.Context) error {
	first := []string{"etcd", "kube-apiserver"}
	for _, name := range first {
		b.supervisor.Restart(name, processGrace)
	}
	if err := b.apiServerAnswers(ctx); err != nil {
		return fmt.Errorf("the API server with its new certificate: %w", err)
	}
	var rest sync.WaitGroup
	for _, program := range b.supervisor.Status() {
		if !slices.Contains(append(first, "containerd"), program.Name) {
			rest.Go(func() { b.supervisor.Restart(program.Name, processGrace) })
		}
	}
	rest.Wait()
	return b.rolesReady(ctx)
}
