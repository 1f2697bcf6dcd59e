// Command redoubt-probe prints what the sandbox that it runs in can do, as JSON;
// with the path of a pod's field, whether the pod has what the field asks for;
// with "figures" and the address of a pod in which it runs with "serve", how fast
// the sandbox is. "redoubt runtimeclass measure" runs it in pods of each class.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"redoubt.dev/redoubt/internal/probe"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	var report probe.Report
	switch {
	case len(args) == 0:
		report = probe.Run()
	case args[0] == probe.Child:
		return nil
	case args[0] == probe.Server:
		return probe.Serve()
	case args[0] == probe.Calls || args[0] == probe.Speeds:
		if len(args) != 2 {
			return errors.New(args[0] + " takes one argument")
		}
		if args[0] == probe.Calls {
			return probe.MakeCalls(args[1])
		}
		if report, err = probe.Figures(args[1]); err != nil {
			return err
		}
	default:
		report = probe.Ask(args[0])
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}
