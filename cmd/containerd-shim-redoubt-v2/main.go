// Command containerd-shim-redoubt-v2 runs pods in virtual machines for
// containerd.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/pkg/shim"
	"redoubt.dev/redoubt/internal/microvm/pod"
	"redoubt.dev/redoubt/internal/microvm/share"
	redoubt "redoubt.dev/redoubt/internal/microvm/shim"
	"redoubt.dev/redoubt/internal/microvm/spare"
)

func main() {
	if share.Asked() {
		share.Main()
		return
	}
	var ready *pod.Spare
	if spare.Asked() {
		var err error
		if ready, err = spare.Wait(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if ready == nil {
			return
		}
	}
	if redoubt.StartedByOlder() {
		if err := redoubt.StartForOlder(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	redoubt.Register(ready)
	// The shim's only children are machines and what serves folders to them,
	// which their own packages await.
	shim.RunShim(context.Background(), redoubt.Manager{}, func(c *shim.Config) {
		c.NoReaper, c.NoSubreaper = true, true
	})
}
