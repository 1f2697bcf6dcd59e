package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/autoscale"
	"redoubt.dev/redoubt/internal/function"
)

func newAutoscale(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "autoscale",
		Short: "Say how many instances functions have",
		Long: `Say how many instances functions have. The commands and flags are Kubeless's. A
function without any of this has none when nobody calls it, and as many as its
calls at one time need.`,
	}
	cmd.AddCommand(
		newAutoscaleWrite(a, "create", "Bound a function's instances, and say what to scale it on",
			`  redoubt autoscale create hello --min 1 --max 5
  redoubt autoscale create hello --max 20 --metric qps --value 50
  redoubt autoscale create hello --max 4 --metric cpu --value 70`),
		newAutoscaleWrite(a, "update", "Change how a function is scaled as the flags say", `  redoubt autoscale update hello --max 10`),
		newList(a, lister{use: "list [NAME]", short: "List functions whose scale is bounded", kind: "function", list: functions, table: tableOfScales}),
		newAutoscaleDelete(a),
	)
	return cmd
}

// scaleAnnotations are those that autoscale writes into a function's template. The
// autoscaler in a function's spec, as Kubeless writes it, says the same of what the
// template is silent on.
var scaleAnnotations = []string{serving.MinScaleAnnotation, serving.MaxScaleAnnotation, serving.ClassAnnotation, serving.MetricAnnotation, serving.TargetAnnotation}

func scaleOf(fn *kubeless.Function) *map[string]string {
	return &fn.Spec.Deployment.Spec.Template.Annotations
}

// autoscales says whether the function has a scale of its own.
func autoscales(fn *kubeless.Function) bool {
	scale := function.Scale(fn)
	return slices.ContainsFunc(scaleAnnotations, func(name string) bool { return scale[name] != "" })
}

func tableOfScales(_ *cobra.Command, c *connection, list client.ObjectList, _ bool) (table, error) {
	t := table{columns: c.column("NAME", "MIN", "MAX", "METRIC", "VALUE"), names: []string{}}
	for _, fn := range list.(*kubeless.FunctionList).Items {
		if !autoscales(&fn) {
			continue
		}
		scale := function.Scale(&fn)
		of := func(name, otherwise string) string { return orElse(scale[name], otherwise) }
		metric := autoscale.Metric(of(serving.MetricAnnotation, string(autoscale.Concurrency)))
		t.rows = append(t.rows, c.row(fn.Namespace, fn.Name, of(serving.MinScaleAnnotation, "0"), orElse(of(serving.MaxScaleAnnotation, ""), "<none>"),
			kubelessMetric(metric), of(serving.TargetAnnotation, "<default>")))
		t.names = append(t.names, qualified("function", fn.Name))
	}
	return t, nil
}

// kubelessMetric is Kubeless's name of a metric.
func kubelessMetric(m autoscale.Metric) string {
	if m == autoscale.RPS {
		return "qps"
	}
	return string(m)
}

// scaleWriter is what create and update have in common.
type scaleWriter struct {
	clusterFlags
	waitFlags
	min, max      int
	metric, value string
	set           *pflag.FlagSet
}

func newAutoscaleWrite(a *app, verb, short, example string) *cobra.Command {
	w := &scaleWriter{clusterFlags: clusterFlags{app: a}}
	cmd := newAutoscaleWriter(w)
	cmd.Use, cmd.Short, cmd.Example = verb+" NAME", short, example
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wanted, err := w.annotations()
		if err != nil {
			return usage(err)
		}
		return w.write(cmd, args[0], func(fn *kubeless.Function) error {
			if verb == "create" && autoscales(fn) {
				return fmt.Errorf("function '%s' is scaled already; change that with: redoubt autoscale update %s", fn.Name, fn.Name)
			}
			if metric, ok := wanted[serving.MetricAnnotation]; ok {
				setMetricsClass(scaleOf(fn), metric)
			}
			for name, value := range wanted {
				setKey(scaleOf(fn), name, value)
			}
			return nil
		})
	}
	return cmd
}

// newAutoscaleWriter is a command with the flags of w.
func newAutoscaleWriter(w *scaleWriter) *cobra.Command {
	cmd := &cobra.Command{Args: oneName("function"), ValidArgsFunction: complete(&w.clusterFlags, functions)}
	w.clusterFlags.register(cmd, false)
	w.waitFlags.register(cmd, true)
	w.set = cmd.Flags()
	w.set.IntVar(&w.min, "min", 0, "least number of instances; 0 is none while nobody calls")
	w.set.IntVar(&w.max, "max", 0, "greatest number of instances; 0 is no bound")
	w.set.StringVar(&w.metric, "metric", "", "what to scale on: qps (calls a second), concurrency (calls at one time), or cpu (percent of what an instance asks for)")
	w.set.StringVar(&w.value, "value", "", "value of the metric to keep per instance")
	return cmd
}

// annotations are what the flags say, in the words of the serving layer; the
// API server checks the numbers.
func (w *scaleWriter) annotations() (map[string]string, error) {
	wanted := map[string]string{}
	if w.set.Changed("min") {
		wanted[serving.MinScaleAnnotation] = strconv.Itoa(w.min)
	}
	if w.set.Changed("max") {
		wanted[serving.MaxScaleAnnotation] = strconv.Itoa(w.max)
	}
	switch w.metric {
	case "":
	case "qps", "rps":
		wanted[serving.MetricAnnotation] = string(autoscale.RPS)
	case "concurrency":
		wanted[serving.MetricAnnotation] = string(autoscale.Concurrency)
	case "cpu":
		wanted[serving.MetricAnnotation] = string(autoscale.CPUUse)
	default:
		return nil, fmt.Errorf("--metric %q is none of qps, concurrency and cpu", w.metric)
	}
	if w.set.Changed("value") {
		if n, err := strconv.ParseFloat(w.value, 64); err != nil || n <= 0 {
			return nil, fmt.Errorf("--value %q is no number above zero, as 50", w.value)
		}
		wanted[serving.TargetAnnotation] = w.value
	}
	if wanted[serving.MetricAnnotation] == string(autoscale.RPS) && !w.set.Changed("value") {
		return nil, errors.New("--metric qps needs --value: how many calls a second an instance can take")
	}
	if len(wanted) == 0 {
		return nil, errors.New("say how to scale with --min, --max, --metric and --value, as in: redoubt autoscale create hello --max 20 --metric qps --value 50")
	}
	return wanted, nil
}

// write changes a function and waits for what comes of it.
func (w *scaleWriter) write(cmd *cobra.Command, name string, apply func(*kubeless.Function) error) error {
	c, err := w.connect(cmd)
	if err != nil {
		return err
	}
	var fn *kubeless.Function
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if fn, err = c.function(cmd, name); err != nil {
			return err
		}
		if err := apply(fn); err != nil {
			return err
		}
		return c.Update(cmd.Context(), fn, fieldOwner)
	})
	if err != nil {
		return err
	}
	if w.wait {
		if _, err := w.functionReady(cmd, c, fn); err != nil {
			return err
		}
	}
	scale := function.Scale(fn)
	fmt.Fprintf(cmd.OutOrStdout(), "Function '%s' in namespace '%s' has %s to %s instances.\n",
		name, c.namespace, cmp.Or(scale[serving.MinScaleAnnotation], "0"), orElse(scale[serving.MaxScaleAnnotation], "any number of"))
	return nil
}

func newAutoscaleDelete(a *app) *cobra.Command {
	w := &scaleWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Let a function be scaled as any other; it stays",
		Args:  oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.write(cmd, args[0], func(fn *kubeless.Function) error {
				if !autoscales(fn) {
					return fmt.Errorf("function '%s' is not scaled by anything of its own; see: redoubt autoscale list", fn.Name)
				}
				for _, name := range scaleAnnotations {
					delete(*scaleOf(fn), name)
				}
				fn.Spec.HorizontalPodAutoscaler = kubeless.Autoscaler{}
				return nil
			})
		},
		ValidArgsFunction: complete(&w.clusterFlags, functions),
	}
	w.clusterFlags.register(cmd, false)
	w.waitFlags.register(cmd, true)
	return cmd
}
