// Command containerd-shim-runsc-v1 is gVisor's containerd shim, started
// another way and completed.
//
// One shim serves all containers of a pod without a machine-wide configuration
// file saying so, and a machine that does not let processes lower their
// out-of-memory score can run it. What gVisor's own shim lacks for Kubernetes
// is added around it, not inside: port forwarding, the memory limits of
// containers, the keys of a terminal, and statistics that say what ended a
// container.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/plugin/registry"
)

// The first thread stays with main: another goroutine that took it into a pod's
// network namespace would take the whole process's /proc/self/ns there.
func init() { runtime.LockOSThread() }

func main() {
	if os.Args[0] == keyboardName {
		keyboard(sandbox{os.Args[1]}, os.Args[2])
	}
	if err := withoutNotifications(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	registry.Register(taskPlugin())
	shim.Run(context.Background(), newManager("io.containerd.runsc.v1"))
}
