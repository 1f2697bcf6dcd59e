package demo

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// table prints rows in columns.
func (s stage) table(rows [][]string) error {
	w := tabwriter.NewWriter(s.out, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	return w.Flush()
}

// close is the end of the show: what was seen, and what to do with it.
func (d *demo) close() error {
	d.stage.title("What was seen")
	rows := [][]string{{"WORKLOAD", "CLASS", "ISOLATION", "GUEST KERNEL", "COLD", "WARM"}}
	for _, r := range d.results {
		warm := "-"
		if r.warm > 0 {
			warm = brief(r.warm)
		}
		rows = append(rows, []string{r.workload, r.class.Name, string(r.class.Isolation), r.class.kernel, seconds(r.cold), warm})
	}
	if err := d.stage.table(rows); err != nil {
		return err
	}
	last := d.classes[len(d.classes)-1]
	d.stage.say(`
COLD is what the one who typed the command waits: for a pod until it is ready,
for a service until the answer of the instance that the request starts, for a
function from its source to its first answer. WARM is the median of %d requests
after that.

Look around:   redoubt kubectl%[2]s get pods,services.serving.knative.dev,functions.kubeless.io
               redoubt status%[2]s
Try your own:  edit %[3]s/%[4]s.yaml and apply it
The service:   curl %[5]s
Data:          %[6]s
Remove all:    redoubt down%[2]s --purge`,
		warmRequests, d.stage.flags(), d.stage.dir, serviceName(last),
		d.address(serviceName(last)+".default.localhost"), d.inst.DataDir)
	return nil
}
