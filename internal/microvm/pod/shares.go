package pod

import (
	"context"
	"io"
	"net"
	"sync"

	"redoubt.dev/redoubt/internal/microvm/share"
	"redoubt.dev/redoubt/internal/microvm/volume"
	"redoubt.dev/redoubt/internal/wire"
)

// shares are the host's folders that a machine has, each once however many
// containers mount it, for the pod's life.
type shares struct {
	mu   sync.Mutex // guards made
	made map[string]bool
}

// once calls make unless it has succeeded for id.
func (s *shares) once(id string, make func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[id] {
		return nil
	}
	if err := make(); err != nil {
		return err
	}
	if s.made == nil {
		s.made = map[string]bool{}
	}
	s.made[id] = true
	return nil
}

// share mounts a folder of the host's in the guest and has it served.
func (p *Pod) share(ctx context.Context, plan volume.Plan) error {
	if err := p.send(ctx, plan); err != nil {
		return err
	}
	server, err := share.Start(p.life, plan.Folder)
	if err != nil {
		return err
	}
	stream, err := p.session.Open(ctx, wire.Files, &wire.Ref{ID: plan.ID}, &wire.Empty{})
	if err != nil {
		_ = server.Close()
		return err
	}
	go carry(server, stream)
	return nil
}

// carry copies requests and answers until one side ends, as both do with the
// pod.
func carry(server net.Conn, stream wire.Stream) {
	var both sync.WaitGroup
	for _, way := range []struct {
		to   io.Writer
		from io.Reader
	}{{server, stream}, {stream, server}} {
		both.Go(func() {
			_, _ = io.Copy(way.to, way.from)
			_ = server.Close()
			_ = stream.Close()
		})
	}
	both.Wait()
}
