// Command containerd-shim-redoubt-v2 runs pods in virtual machines for
// containerd.
package main

import (
	"context"

	"github.com/containerd/containerd/v2/pkg/shim"
	"redoubt.dev/redoubt/internal/microvm/share"
	redoubt "redoubt.dev/redoubt/internal/microvm/shim"
)

func main() {
	if share.Asked() {
		share.Main()
		return
	}
	redoubt.Register()
	// The shim's only children are machines and what serves folders to them,
	// which their own packages await.
	shim.RunShim(context.Background(), redoubt.Manager{}, func(c *shim.Config) {
		c.NoReaper, c.NoSubreaper = true, true
	})
}
