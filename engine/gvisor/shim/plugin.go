package main

import (
	"fmt"

	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	v1 "gvisor.dev/gvisor/pkg/shim/v1"
)

// taskPlugin is the service that containerd talks to.
func taskPlugin() *plugin.Registration {
	return &plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			events, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, fmt.Errorf("find the event publisher: %w", err)
			}
			end, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, fmt.Errorf("find the shutdown service: %w", err)
			}
			publisher, sd := events.(shim.Publisher), end.(shutdown.Service)
			s := newService(publisher, sd)
			next, err := v1.NewShimRedirector(ic.Context, s.exits(), sd)
			if err != nil {
				return nil, fmt.Errorf("start gVisor's task service: %w", err)
			}
			s.TaskService = next
			return s, nil
		},
	}
}
