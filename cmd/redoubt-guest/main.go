// Command redoubt-guest is the first process in a Redoubt virtual machine.
package main

import (
	"fmt"
	"os"

	"redoubt.dev/redoubt/internal/guest"
)

func main() {
	err := guest.Run()
	// The console is all there is to tell.
	fmt.Fprintln(os.Stderr, "redoubt-guest:", err)
	if os.Getpid() == 1 {
		fmt.Fprintln(os.Stderr, "redoubt-guest:", guest.PowerOff())
	}
	os.Exit(1)
}
