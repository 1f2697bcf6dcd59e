package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"redoubt.dev/redoubt/internal/cluster"
)

func newStatus(a *app) *cobra.Command {
	p := &printFlags{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show every component, the node and its sandbox handlers",
		Long:  "Show every component, the node and its sandbox handlers. The exit code is 0 only when all of them run.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			status := cluster.Look(cmd.Context(), inst)
			if err := p.print(cmd.OutOrStdout(), status, func() table { return statusTable(status) }); err != nil {
				return err
			}
			if status.Node != nil && (p.format == "table" || p.wide()) {
				n := status.Node
				fmt.Fprintf(cmd.OutOrStdout(), "\nNode %s: %s, Kubernetes %s, kernel %s, handlers %s\n",
					n.Name, readiness(n.Ready), n.Version, n.Kernel, strings.Join(n.Handlers, ", "))
			}
			return status.Check()
		},
	}
	p.register(cmd)
	return cmd
}

func statusTable(s cluster.Status) table {
	t := table{columns: []string{"COMPONENT", "STATE", "VERSION", "PID", "MEMORY", "RESTARTS", "AGE", "LAST EXIT"}}
	for _, c := range s.Components {
		t.rows = append(t.rows, []string{
			c.Name, string(c.State), c.Version, strconv.Itoa(c.PID), fmt.Sprintf("%d MiB", c.Memory>>20),
			strconv.Itoa(c.Restarts), duration.HumanDuration(time.Since(c.Started)), c.LastExit,
		})
	}
	return t
}

func readiness(ready bool) string {
	if ready {
		return "ready"
	}
	return "not ready"
}
