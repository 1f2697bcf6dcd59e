package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/autoscale"
)

// autoscalingPrefix begins the annotations that steer the scale; they belong
// on a revision's template alone.
const autoscalingPrefix = "autoscaling.knative.dev/"

func (f *serviceFlags) registerScale(flags *pflag.FlagSet) {
	flags.StringVar(&f.scale, "scale", "", "number of instances, N, or least and most, MIN..MAX, either of which may be left out")
	flags.IntVar(&f.scaleMin, "scale-min", 0, "least number of instances")
	flags.IntVar(&f.scaleMax, "scale-max", 0, "greatest number of instances; 0 is no bound")
	flags.IntVar(&f.scaleInit, "scale-init", 1, "instances that a new revision starts with")
	flags.IntVar(&f.scaleActivation, "scale-activation", 0, "least number of instances above zero")
	flags.IntVar(&f.scaleTarget, "scale-target", 0, "value of the metric to keep per instance")
	flags.IntVar(&f.scaleUtilization, "scale-utilization", 0, "percentage of the target to use before more are started")
	flags.StringVar(&f.scaleMetric, "scale-metric", "", "what to scale on: concurrency or rps, which are asked of instances, or cpu (percent of the request) or memory (MiB), which they take")
	flags.StringVar(&f.window, "scale-window", "", "time that the metric is averaged over, as 60s")
	flags.StringVar(&f.scaleDownDelay, "scale-down-delay", "", "time that fewer instances must have been enough, as 30s")
	flags.StringVar(&f.podRetention, "scale-to-zero-retention", "", "time that the last instance stays when there is no more work, as 10m")
}

// applyScale writes the scale flags as annotations of the template; the API
// server checks their values.
func (f *serviceFlags) applyScale(svc *serving.Service) error {
	annotations := &svc.Spec.Template.Annotations
	for _, a := range []struct{ flag, annotation, value string }{
		{"scale-min", serving.MinScaleAnnotation, strconv.Itoa(f.scaleMin)},
		{"scale-max", serving.MaxScaleAnnotation, strconv.Itoa(f.scaleMax)},
		{"scale-init", serving.InitialScaleAnnotation, strconv.Itoa(f.scaleInit)},
		{"scale-activation", serving.ActivationScaleAnnotation, strconv.Itoa(f.scaleActivation)},
		{"scale-target", serving.TargetAnnotation, strconv.Itoa(f.scaleTarget)},
		{"scale-utilization", serving.TargetUtilizationAnnotation, strconv.Itoa(f.scaleUtilization)},
		{"scale-metric", serving.MetricAnnotation, f.scaleMetric},
		{"scale-window", serving.WindowAnnotation, f.window},
		{"scale-down-delay", serving.ScaleDownDelayAnnotation, f.scaleDownDelay},
		{"scale-to-zero-retention", serving.RetentionAnnotation, f.podRetention},
	} {
		if f.set.Changed(a.flag) {
			setKey(annotations, a.annotation, a.value)
		}
	}
	if f.set.Changed("scale-metric") {
		setMetricsClass(annotations, f.scaleMetric)
	}
	if !f.set.Changed("scale") {
		return nil
	}
	if f.set.Changed("scale-min") || f.set.Changed("scale-max") {
		return usage(fmt.Errorf("--scale says what --scale-min and --scale-max say; give the one or the others"))
	}
	least, most, isRange := strings.Cut(f.scale, "..")
	if !isRange {
		most = least
	}
	for annotation, value := range map[string]string{serving.MinScaleAnnotation: least, serving.MaxScaleAnnotation: most} {
		if value == "" && isRange {
			continue
		}
		if _, err := strconv.ParseUint(value, 10, 31); err != nil {
			return usage(fmt.Errorf("--scale %q is neither N nor MIN..MAX", f.scale))
		}
		setKey(annotations, annotation, value)
	}
	return nil
}

// setMetricsClass names the class of autoscaler that knows the metric.
func setMetricsClass(annotations *map[string]string, metric string) {
	if autoscale.Metric(metric).Resource() {
		setKey(annotations, serving.ClassAnnotation, serving.ClassHPA)
		return
	}
	delete(*annotations, serving.ClassAnnotation)
}
