// Command containerd-shim-runsc-v1 is gVisor's containerd shim with another
// way of starting: one shim serves all containers of a pod without a
// machine-wide configuration file saying so, and a machine that does not let
// processes lower their out-of-memory score can run it.
package main

import (
	"context"

	"github.com/containerd/containerd/v2/pkg/shim"
	_ "gvisor.dev/gvisor/pkg/shim/v1/plugin" // the task service
)

func main() { shim.Run(context.Background(), newManager("io.containerd.runsc.v1")) }
