package function

import (
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// What stands in the spec's autoscaler counts where the template says nothing.
func TestAutoscalerOfTheSpec(t *testing.T) {
	const least, most, class, metric, target = serving.MinScaleAnnotation, serving.MaxScaleAnnotation, serving.ClassAnnotation, serving.MetricAnnotation, serving.TargetAnnotation
	two, percent, memory := int32(2), int32(70), resource.MustParse("192Mi")
	own := map[string]string{most: "9", "other": "x"}
	bounds := kubeless.AutoscalerSpec{MinReplicas: &two, MaxReplicas: 5}
	processor := by(kubeless.Metric{Resource: &kubeless.ResourceMetric{Name: "cpu", TargetAverageUtilization: &percent}})
	for title, tc := range map[string]struct {
		annotations map[string]string
		spec        kubeless.AutoscalerSpec
		want        map[string]string
	}{
		"nothing":       {nil, kubeless.AutoscalerSpec{}, nil},
		"both":          {nil, bounds, map[string]string{least: "2", most: "5"}},
		"the template":  {own, bounds, map[string]string{least: "2", most: "9", "other": "x"}},
		"only template": {own, kubeless.AutoscalerSpec{}, own},
		"processor":     {nil, processor, map[string]string{class: serving.ClassHPA, metric: "cpu", target: "70"}},
		"by default":    {nil, by(kubeless.Metric{Resource: &kubeless.ResourceMetric{Name: "cpu"}}), map[string]string{class: serving.ClassHPA, metric: "cpu"}},
		"memory":        {nil, by(kubeless.Metric{Resource: &kubeless.ResourceMetric{Name: "memory", TargetAverageValue: &memory}}), map[string]string{class: serving.ClassHPA, metric: "memory", target: "192"}},
		"calls":         {nil, by(kubeless.Metric{Object: &kubeless.ObjectMetric{TargetValue: resource.MustParse("500m")}}), map[string]string{metric: "rps", target: "0.5"}},
		"own target":    {map[string]string{target: "50"}, processor, map[string]string{class: serving.ClassHPA, metric: "cpu", target: "50"}},
		"own metric":    {map[string]string{metric: "rps"}, processor, map[string]string{metric: "rps"}},
		"own class":     {map[string]string{class: serving.ClassKPA}, processor, map[string]string{class: serving.ClassKPA}},
	} {
		fn := &kubeless.Function{}
		fn.Spec.Deployment.Spec.Template.Annotations, fn.Spec.HorizontalPodAutoscaler.Spec = tc.annotations, tc.spec
		if got := Scale(fn); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", title, got, tc.want)
		}
	}
}

func by(m kubeless.Metric) kubeless.AutoscalerSpec {
	return kubeless.AutoscalerSpec{Metrics: []kubeless.Metric{m}}
}
