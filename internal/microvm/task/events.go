package task

import (
	"context"

	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
)

// publisher sends events one after another; shim.Publisher tries again when
// containerd does not answer.
type publisher struct {
	queue chan any
	done  chan struct{}
}

func newPublisher(ctx context.Context, to shim.Publisher) *publisher {
	p := &publisher{queue: make(chan any, 256), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer to.Close()
		for e := range p.queue {
			if err := to.Publish(ctx, runtime.GetTopic(e), events.Event(e)); err != nil {
				log.G(ctx).WithError(err).Error("event not delivered")
			}
		}
	}()
	return p
}

func (p *publisher) send(e any) { p.queue <- e }

// close sends what is queued. Nothing may be sent after it.
func (p *publisher) close() {
	close(p.queue)
	<-p.done
}
