package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/volume"
	"redoubt.dev/redoubt/internal/wire"
)

// shm is the guest's name for the /dev/shm that containers share; it makes it
// by itself.
const shm = "shm"

// putsAtOnce is how many volumes are on their way to the guest at once: each
// answer takes longer to come than the guest needs for the volume.
const putsAtOnce = 4

// Mount brings the host's mounts of a container into the guest and replaces,
// in mounts, their paths on the host by the volumes' names. It returns the
// plans of those that are wanted back.
func (p *Pod) Mount(ctx context.Context, mounts []wire.Mount, host []specs.Mount) ([]volume.Plan, error) {
	plans := map[string]volume.Plan{} // by target
	var back []volume.Plan
	puts, limited := errgroup.WithContext(ctx)
	puts.SetLimit(putsAtOnce)
	for _, m := range host {
		plan, err := volume.For(m)
		if err != nil {
			return nil, errors.Join(err, puts.Wait())
		}
		puts.Go(func() error {
			if err := p.put(limited, plan); err != nil {
				return fmt.Errorf("volume at %s: %w", m.Destination, err)
			}
			return nil
		})
		if plan.WriteBack {
			back = append(back, plan)
		}
		plans[m.Destination] = plan
	}
	if err := puts.Wait(); err != nil {
		return nil, err
	}
	for i := range mounts {
		if m := &mounts[i]; m.Volume != "" {
			plan := plans[m.Target]
			m.Volume, m.Path = plan.ID, plan.Path
			if plan.Kind == wire.Share {
				// The host refuses what may not be written: it alone knows the
				// file systems that are mounted within.
				m.Flags &^= unix.MS_RDONLY
			}
		}
	}
	return back, nil
}

// put makes a volume in the guest and has it watched if it is a copy.
func (p *Pod) put(ctx context.Context, plan volume.Plan) error {
	if plan.ID == shm {
		return nil
	}
	if plan.Kind == wire.Share {
		if len(p.users.UIDs) > 0 {
			return fmt.Errorf("%w: hostUsers: false: a folder of the host cannot be shown to a microVM's containers under other owners; leave hostUsers out or use another RuntimeClass", errdefs.ErrInvalidArgument)
		}
		return p.shares.once(plan.ID, func() error { return p.share(ctx, plan) })
	}
	if plan.Kind == wire.Copy {
		// Watched first, so that no change is missed.
		if err := p.volumes.Add(plan); err != nil {
			return err
		}
	}
	return p.send(ctx, plan)
}

// send brings what a volume holds now into the guest. One volume's contents go one
// after another, or an older one might come last.
func (p *Pod) send(ctx context.Context, plan volume.Plan) error {
	session, err := p.Session(ctx)
	if err != nil {
		return err
	}
	end, err := p.sending.begin(ctx, plan.ID)
	if err != nil {
		return err
	}
	defer end()
	content, err := plan.Read()
	if err != nil {
		return err
	}
	if content.Layers, err = p.Layers(ctx, plan.Layers); err != nil {
		return err
	}
	return session.Call(ctx, wire.PutVolume, content, &wire.Empty{})
}

// refresh brings a volume up to date. It waits as long as it takes, a frozen guest
// for its thaw: what is given up here is done there all the same, in any order.
func (p *Pod) refresh(plan volume.Plan) {
	if err := p.send(p.life, plan); err != nil && !volume.IsGone(err) && p.life.Err() == nil {
		log.L.WithError(err).WithField("volume", plan.Source).Error("volume not brought up to date in the guest")
	}
}

// File reads a volume that is one file back from the guest.
func (p *Pod) File(ctx context.Context, plan volume.Plan) ([]byte, error) {
	session, err := p.Session(ctx)
	if err != nil {
		return nil, err
	}
	var content wire.Content
	err = session.Call(ctx, wire.GetFile, &wire.Ref{ID: plan.ID}, &content)
	return content.Data, err
}
