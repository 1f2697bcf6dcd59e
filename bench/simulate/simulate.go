// Package simulate judges the autoscaler without a cluster: it replays loads
// against a model of instances, in virtual time, and says how many requests
// were late and what that cost.
//
// The decisions are the platform's own (internal/autoscale), from the same
// settings, reports and ticks. The model is kinder than a cluster: there is
// room for every instance, each starts in the same time whatever else does, a
// request takes one time exactly, and nobody gives up waiting.
package simulate

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// Class is how fast instances of a sandbox class start.
type Class struct {
	Name string
	// Cold is the time from the decision to the first answer, Thaw what a
	// frozen instance adds to a request.
	Cold, Thaw time.Duration
}

// classes are as measured on two cores without KVM: Cold by `redoubt demo`, a
// service's, and Thaw by `go run ./bench -only thaw`.
var classes = []Class{
	{"runc", 700 * time.Millisecond, time.Millisecond},
	{"gvisor", 800 * time.Millisecond, 2 * time.Millisecond},
	{"microvm", 1900 * time.Millisecond, 7 * time.Millisecond},
}

const (
	service = 500 * time.Millisecond // that a request takes in an instance
	late    = 500 * time.Millisecond // to wait as long again is to be late
	queue   = 10_000                 // requests that wait at a time, as in the gateway
)

// Run simulates every load in every class, and that of the CSV file trace
// unless it is empty, and prints a table.
func Run(ctx context.Context, out io.Writer, trace string) error {
	all := loads
	if trace != "" {
		recorded, err := ReadTrace(trace)
		if err != nil {
			return err
		}
		all = append(all[:len(all):len(all)], Load{"trace", recorded})
	}
	rev := &serving.Revision{}
	rev.Spec.ContainerConcurrency = 1
	fmt.Fprintf(out, "Instances take %d request at a time, which takes %v; late is what waited for more than %v.\n", rev.Spec.ContainerConcurrency, service, late)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "load\tclass\trequests\tlate\tlost\tp50 wait\tp99 wait\tmost pods\tof\trunning pod-s\tfrozen pod-s\tcost\t")
	for _, load := range all {
		for _, class := range classes {
			if err := ctx.Err(); err != nil {
				return err
			}
			o, err := Simulate(Setup{Class: class, Revision: rev, Service: service, Late: late, Queue: queue}, load.Rates)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%.2f %%\t%d\t%.0f ms\t%.0f ms\t%d\t%d\t%.0f\t%.0f\t%.2f\t\n", load.Name, class.Name, o.Requests,
				100*float64(o.Late)/float64(max(o.Requests, 1)), o.Lost, o.Wait(0.5), o.Wait(0.99), o.MostPods, o.Needed, o.Running.Seconds(), o.Frozen.Seconds(), o.Cost())
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "\"of\" is the least that the highest rate needs; cost is running pod-s by those that the requests took.")
	return err
}
