package function

import (
	"maps"
	"strconv"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/autoscale"
)

// Scale are the annotations of fn's template, with what the autoscaler in its spec
// says of what they are silent on.
func Scale(fn *kubeless.Function) map[string]string {
	own, a := fn.Spec.Deployment.Spec.Template.Annotations, fn.Spec.HorizontalPodAutoscaler.Spec
	all := map[string]string{}
	if a.MinReplicas != nil {
		all[serving.MinScaleAnnotation] = strconv.Itoa(int(*a.MinReplicas))
	}
	if a.MaxReplicas > 0 {
		all[serving.MaxScaleAnnotation] = strconv.Itoa(int(a.MaxReplicas))
	}
	_, metric := own[serving.MetricAnnotation]
	_, class := own[serving.ClassAnnotation]
	if !metric && !class { // else a target there is of something else
		for _, m := range a.Metrics {
			maps.Copy(all, measured(m))
		}
	}
	if len(all) == 0 {
		return own
	}
	maps.Copy(all, own)
	return all
}

// measured are the annotations that say what m does.
func measured(m kubeless.Metric) map[string]string {
	if m.Object != nil {
		return map[string]string{
			serving.MetricAnnotation: string(autoscale.RPS),
			serving.TargetAnnotation: number(m.Object.TargetValue.AsApproximateFloat64()),
		}
	}
	all := map[string]string{serving.ClassAnnotation: serving.ClassHPA, serving.MetricAnnotation: m.Resource.Name}
	if percent := m.Resource.TargetAverageUtilization; percent != nil {
		all[serving.TargetAnnotation] = strconv.Itoa(int(*percent))
	}
	if bytes := m.Resource.TargetAverageValue; bytes != nil {
		all[serving.TargetAnnotation] = number(bytes.AsApproximateFloat64() / (1 << 20))
	}
	return all
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
