package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/trigger"
)

// cronWriter is what create and update have in common, named as Kubeless names
// it. Only flags that were given change anything.
type cronWriter struct {
	clusterFlags
	function, schedule, zone, policy string
	payload, payloadFile             string
	deadline                         int64
	suspend, dryRun                  bool
	print                            printFlags
	set                              *pflag.FlagSet
}

func (w *cronWriter) register(cmd *cobra.Command) {
	w.clusterFlags.register(cmd, false)
	w.print.register(cmd)
	flags := cmd.Flags()
	w.set = flags
	flags.StringVar(&w.function, "function", "", "function to call")
	flags.StringVar(&w.schedule, "schedule", "", "when: five fields of cron, @hourly and the like, or @every 90s")
	flags.StringVar(&w.zone, "time-zone", "", `time zone of the schedule, as Europe/Berlin; "" is UTC`)
	flags.StringVarP(&w.payload, "payload", "p", "", "data of the event: JSON, or a text; \"\" is none")
	flags.StringVarP(&w.payloadFile, "payload-from-file", "f", "", "file with the data of the event")
	flags.StringVar(&w.policy, "concurrency-policy", "Allow", "what to do when a call is due while one runs: Allow it, or Forbid it until that ends")
	flags.Int64Var(&w.deadline, "starting-deadline", 0, "seconds that a call may be late; 0 makes up for the last one, however late")
	flags.BoolVar(&w.suspend, "suspend", false, "make no further calls")
	flags.BoolVar(&w.dryRun, "dryrun", false, "print the trigger, as YAML unless -o says otherwise, and change nothing")
}

func newCronCreate(a *app) *cobra.Command {
	w := &cronWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:   "create NAME --function FUNCTION --schedule SCHEDULE",
		Short: "Call a function by a schedule",
		Example: `  redoubt trigger cronjob create nightly --function report --schedule '30 2 * * *' --time-zone Europe/Berlin
  redoubt trigger cronjob create tick --function report --schedule '@every 30s' --payload '{"short": true}'`,
		Args: oneName("trigger"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t := &kubeless.CronJobTrigger{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
			if !w.set.Changed("function") || !w.set.Changed("schedule") {
				return usage(errors.New("a trigger needs --function and --schedule, as in: redoubt trigger cronjob create nightly --function report --schedule '30 2 * * *'"))
			}
			if err := w.apply(&t.Spec); err != nil {
				return err
			}
			if w.dryRun {
				t.Namespace = w.namespace
				return w.show(cmd, t)
			}
			c, err := w.connect(cmd)
			if err != nil {
				return err
			}
			t.Namespace = c.namespace
			if _, err := c.function(cmd, t.Spec.FunctionName); err != nil {
				return err
			}
			err = c.Create(cmd.Context(), t, fieldOwner)
			if apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("trigger '%s' exists in namespace '%s'; change it with: redoubt trigger cronjob update %s", t.Name, c.namespace, t.Name)
			}
			return w.finish(cmd, t, "created", err)
		},
	}
	w.register(cmd)
	return cmd
}

func newCronUpdate(a *app) *cobra.Command {
	w := &cronWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change a trigger as the flags say",
		Example: `  redoubt trigger cronjob update nightly --suspend`,
		Args:    oneName("trigger"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := w.connect(cmd)
			if err != nil {
				return err
			}
			t := &kubeless.CronJobTrigger{}
			err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
				if err := c.Get(cmd.Context(), c.key(args[0]), t); err != nil {
					return err
				}
				if err := w.apply(&t.Spec); err != nil || w.dryRun {
					return err
				}
				return c.Update(cmd.Context(), t, fieldOwner)
			})
			if err == nil && w.dryRun {
				return w.show(cmd, t)
			}
			return w.finish(cmd, t, "updated", err)
		},
		ValidArgsFunction: complete(&w.clusterFlags, cronTriggers),
	}
	w.register(cmd)
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

// show prints what would be stored, in a form that can be applied.
func (w *cronWriter) show(cmd *cobra.Command, t *kubeless.CronJobTrigger) error {
	t.TypeMeta = metav1.TypeMeta{APIVersion: kubeless.GroupVersion.String(), Kind: "CronJobTrigger"}
	t.ManagedFields = nil
	if w.print.format == "table" {
		w.print.format = "yaml"
	}
	return w.print.print(cmd.OutOrStdout(), t, func() table { return table{names: []string{"cronjobtrigger.kubeless.io/" + t.Name}} })
}

func (w *cronWriter) finish(cmd *cobra.Command, t *kubeless.CronJobTrigger, done string, err error) error {
	if err != nil {
		return err
	}
	if w.print.format != "table" {
		return w.show(cmd, t)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Trigger '%s' %s in namespace '%s'.\n", t.Name, done, t.Namespace)
	return nil
}
