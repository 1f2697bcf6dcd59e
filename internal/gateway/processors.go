package gateway

import (
	"os"
	"runtime"
)

// leaveProcessors leaves half of the processors to the instances: where all are
// busy, another thread here does not carry more, it takes an instance's turn, and
// costs what it takes to wake and to share with. Go's own variable GOMAXPROCS goes
// before.
func leaveProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	}
}
