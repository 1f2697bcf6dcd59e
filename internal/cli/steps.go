package cli

import (
	"fmt"
	"io"
	"time"
)

// steps prints the steps of a command as they start, each with the time
// since the command began, in the form that kn's users know.
func steps(out io.Writer) func(step string) {
	started := time.Now()
	return func(step string) {
		fmt.Fprintf(out, "%7.3fs %s\n", time.Since(started).Seconds(), step)
	}
}
