// Command redoubt-probe prints what the sandbox that it runs in can do, as JSON.
// "redoubt runtimeclass measure" runs it in pods of each class.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"redoubt.dev/redoubt/internal/probe"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == probe.Child {
		return
	}
	if err := json.NewEncoder(os.Stdout).Encode(probe.Run()); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
