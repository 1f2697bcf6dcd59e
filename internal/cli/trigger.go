package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

func newTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "trigger",
		Aliases: []string{"triggers"},
		Short:   "Call functions for what happens",
		Long: `Call functions for what happens. The commands and flags are Kubeless's. A
function that is frozen or has no instance is woken by its trigger.`,
	}
	cron := &cobra.Command{
		Use:     "cronjob",
		Aliases: []string{"cronjobs", "cron"},
		Short:   "Call functions by a schedule",
	}
	cron.AddCommand(
		newCronCreate(a),
		newCronUpdate(a),
		newList(a, lister{use: "list [NAME]", short: "List triggers by schedule", kind: "cronjobtrigger", list: cronTriggers, table: tableOfCronTriggers}),
		newCronDelete(a),
	)
	cmd.AddCommand(cron)
	return cmd
}

func cronTriggers() client.ObjectList { return &kubeless.CronJobTriggerList{} }

func tableOfCronTriggers(_ *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error) {
	t := table{columns: c.column("NAME", "SCHEDULE", "ZONE", "FUNCTION", "LAST", "FAILED", "MISSED", "READY", "REASON")}
	if wide {
		t.columns = append(t.columns, "AGE", "ERROR")
	}
	for _, trigger := range list.(*kubeless.CronJobTriggerList).Items {
		s, last := &trigger.Status, "<none>"
		if s.LastScheduleTime != nil {
			last = age(metav1.NewTime(s.LastScheduleTime.Time))
		}
		row := c.row(trigger.Namespace, trigger.Name, trigger.Spec.Schedule, orElse(trigger.Spec.TimeZone, "UTC"), trigger.Spec.FunctionName,
			last, fmt.Sprint(s.Failed), fmt.Sprint(s.Missed), readyColumn(s.Conditions), reasonColumn(s.Conditions))
		if wide {
			row = append(row, age(trigger.CreationTimestamp), s.LastError)
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

func newCronDelete(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a trigger; its function stays",
		Args:  oneName("trigger"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if err := w.remove(cmd.Context(), c, &kubeless.CronJobTrigger{}, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Trigger '%s' deleted in namespace '%s'.\n", args[0], c.namespace)
			return nil
		},
		ValidArgsFunction: complete(f, cronTriggers),
	}
	f.register(cmd, false)
	w.register(cmd, false)
	return cmd
}
