package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/trigger"
)

var cronTriggers = triggerKind{
	word: "cronjob", kind: "CronJobTrigger",
	one:  func() client.Object { return &kubeless.CronJobTrigger{} },
	list: func() client.ObjectList { return &kubeless.CronJobTriggerList{} },
}

func newCronTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cronjob",
		Aliases: []string{"cronjobs", "cron"},
		Short:   "Call functions by a schedule",
	}
	cmd.AddCommand(
		newCronCreate(a),
		newCronUpdate(a),
		newList(a, lister{use: "list [NAME]", short: "List triggers by schedule", kind: "cronjobtrigger", list: cronTriggers.list, table: tableOfCronTriggers}),
		newTriggerDelete(a, cronTriggers),
	)
	return cmd
}

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

// cronWriter writes triggers by schedule, with flags named as Kubeless names
// them.
type cronWriter struct {
	triggerWriter
	function, schedule, zone, policy string
	payload, payloadFile             string
	deadline                         int64
	suspend                          bool
}

func newCronWriter(a *app, cmd *cobra.Command) *cronWriter {
	w := &cronWriter{triggerWriter: triggerWriter{clusterFlags: clusterFlags{app: a}, triggerKind: cronTriggers}}
	w.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&w.function, "function", "", "function to call")
	flags.StringVar(&w.schedule, "schedule", "", "when: five fields of cron, @hourly and the like, or @every 90s")
	flags.StringVar(&w.zone, "time-zone", "", `time zone of the schedule, as Europe/Berlin; "" is UTC`)
	flags.StringVarP(&w.payload, "payload", "p", "", "data of the event: JSON, or a text; \"\" is none")
	flags.StringVarP(&w.payloadFile, "payload-from-file", "f", "", "file with the data of the event")
	flags.StringVar(&w.policy, "concurrency-policy", "Allow", "what to do when a call is due while one runs: Allow it, or Forbid it until that ends")
	flags.Int64Var(&w.deadline, "starting-deadline", 0, "seconds that a call may be late; 0 makes up for the last one, however late")
	flags.BoolVar(&w.suspend, "suspend", false, "make no further calls")
	return w
}

func newCronCreate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --function FUNCTION --schedule SCHEDULE",
		Short: "Call a function by a schedule",
		Example: `  redoubt trigger cronjob create nightly --function report --schedule '30 2 * * *' --time-zone Europe/Berlin
  redoubt trigger cronjob create tick --function report --schedule '@every 30s' --payload '{"short": true}'`,
		Args: oneName("trigger"),
	}
	w := newCronWriter(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t := &kubeless.CronJobTrigger{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
		if err := w.need("nightly --function report --schedule '30 2 * * *'", "function", "schedule"); err != nil {
			return err
		}
		if err := w.apply(&t.Spec); err != nil {
			return err
		}
		return w.create(cmd, t, func(c *connection) error {
			_, err := c.function(cmd, t.Spec.FunctionName)
			return err
		})
	}
	return cmd
}

func newCronUpdate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change a trigger as the flags say",
		Example: `  redoubt trigger cronjob update nightly --suspend`,
		Args:    oneName("trigger"),
	}
	w := newCronWriter(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t := &kubeless.CronJobTrigger{}
		return w.update(cmd, args[0], t, func(*connection) error { return w.apply(&t.Spec) })
	}
	cmd.ValidArgsFunction = complete(&w.clusterFlags, cronTriggers.list)
	return cmd
}

// apply changes what the flags name, and refuses what could never be.
func (w *cronWriter) apply(spec *kubeless.CronJobTriggerSpec) error {
	for name, to := range map[string]*string{"function": &spec.FunctionName, "schedule": &spec.Schedule, "time-zone": &spec.TimeZone} {
		if w.set.Changed(name) {
			*to = w.set.Lookup(name).Value.String()
		}
	}
	if w.set.Changed("suspend") {
		spec.Suspend = w.suspend
	}
	if w.set.Changed("starting-deadline") {
		spec.StartingDeadlineSeconds = &w.deadline
		if w.deadline == 0 {
			spec.StartingDeadlineSeconds = nil
		}
	}
	if w.set.Changed("concurrency-policy") {
		spec.ConcurrencyPolicy = kubeless.ConcurrencyPolicy(w.policy)
		if !slices.Contains([]kubeless.ConcurrencyPolicy{kubeless.AllowConcurrent, kubeless.ForbidConcurrent}, spec.ConcurrencyPolicy) {
			return usage(fmt.Errorf("--concurrency-policy %q is neither Allow nor Forbid: a call that runs cannot be replaced", w.policy))
		}
	}
	if w.deadline < 0 {
		return usage(fmt.Errorf("--starting-deadline %d is no number of seconds", w.deadline))
	}
	if err := trigger.CheckSchedule(spec); err != nil {
		return usage(err)
	}
	return w.applyPayload(spec)
}

// maxPayload is how much a trigger may send, in bytes.
const maxPayload = 256 << 10

func (w *cronWriter) applyPayload(spec *kubeless.CronJobTriggerSpec) error {
	byFile := w.set.Changed("payload-from-file")
	if !byFile && !w.set.Changed("payload") {
		return nil
	}
	if byFile && w.set.Changed("payload") {
		return usage(errors.New("--payload and --payload-from-file both say what to send: give one"))
	}
	data := []byte(w.payload)
	if byFile {
		var err error
		if data, err = readFile(w.payloadFile); err != nil {
			return fmt.Errorf("--payload-from-file: %w", err)
		}
	}
	if len(data) > maxPayload {
		return usage(fmt.Errorf("the payload has %d bytes, and a trigger sends at most %d", len(data), maxPayload))
	}
	spec.Payload = nil
	if len(data) == 0 {
		return nil
	}
	if !json.Valid(data) {
		text, err := json.Marshal(string(data))
		if err != nil {
			return err
		}
		data = text
	}
	spec.Payload = &runtime.RawExtension{Raw: data}
	return nil
}
