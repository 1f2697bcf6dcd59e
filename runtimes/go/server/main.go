// Command server runs the program that was compiled of a function in Go, which is
// its argument.
package main

import (
	"fmt"
	"os"

	"redoubt.dev/redoubt/runtimes/lend"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "name the program of the function, as in: server /function/handler")
		os.Exit(2)
	}
	if err := lend.Lend(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
