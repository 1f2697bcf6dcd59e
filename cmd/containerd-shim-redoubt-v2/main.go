// Command containerd-shim-redoubt-v2 runs pods in virtual machines for
// containerd.
package main

import (
	"context"

	"github.com/containerd/containerd/v2/pkg/shim"
	redoubt "redoubt.dev/redoubt/internal/microvm/shim"
)

func main() {
	redoubt.Register()
	// The shim's only children are machines, which their own package awaits.
	shim.RunShim(context.Background(), redoubt.Manager{}, func(c *shim.Config) {
		c.NoReaper, c.NoSubreaper = true, true
	})
}
