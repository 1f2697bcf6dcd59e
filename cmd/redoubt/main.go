// Command redoubt is the command line and every long-running role of Redoubt.
package main

import (
	"os"

	"redoubt.dev/redoubt/internal/cli"
)

func main() { os.Exit(cli.Main()) }
