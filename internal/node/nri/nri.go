// Package nri keeps a plugin connected to a container runtime through the Node
// Resource Interface: where the connection ends, it is made again.
package nri

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/containerd/nri/pkg/stub"
)

// Plugin is what the runtime asks and tells.
type Plugin struct {
	// Name is the plugin's, and Index its place among others, "00" to "99".
	Name, Index string
	// Socket is the runtime's.
	Socket string
	// Events has a method for each event that it wants, as package stub says.
	Events any
	// Connected is told when the runtime begins to ask, and when it ends.
	Connected func(bool)
}

// Serve keeps a plugin connected until ctx ends.
func Serve(ctx context.Context, p Plugin) {
	const pause = time.Second
	for ctx.Err() == nil {
		if err := p.serve(ctx); err != nil {
			slog.Error("answer the container runtime", "plugin", p.Name, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// serve is asked by the runtime until ctx ends or the runtime does.
func (p *Plugin) serve(ctx context.Context) error {
	closed := make(chan struct{}, 1)
	plugin, err := stub.New(p.Events, stub.WithPluginName(p.Name), stub.WithPluginIdx(p.Index), stub.WithSocketPath(p.Socket),
		stub.WithOnClose(func() {
			select {
			case closed <- struct{}{}:
			default:
			}
		}))
	if err != nil {
		return err
	}
	if err := plugin.Start(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", p.Socket, err)
	}
	p.Connected(true)
	defer p.Connected(false)
	select {
	case <-ctx.Done():
		plugin.Stop()
		return nil
	case <-closed:
		return errors.New("the container runtime has ended the connection")
	}
}
