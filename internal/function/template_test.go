package function

import (
	"maps"
	"testing"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/runtimes"
)

// What stands in the spec's autoscaler counts where the template says nothing.
func TestAutoscalerOfTheSpec(t *testing.T) {
	two, own := int32(2), map[string]string{serving.MaxScaleAnnotation: "9", "other": "x"}
	for title, tc := range map[string]struct {
		annotations map[string]string
		spec        kubeless.AutoscalerSpec
		want        map[string]string
	}{
		"nothing":       {nil, kubeless.AutoscalerSpec{}, nil},
		"both":          {nil, kubeless.AutoscalerSpec{MinReplicas: &two, MaxReplicas: 5}, map[string]string{serving.MinScaleAnnotation: "2", serving.MaxScaleAnnotation: "5"}},
		"the template":  {own, kubeless.AutoscalerSpec{MinReplicas: &two, MaxReplicas: 5}, map[string]string{serving.MinScaleAnnotation: "2", serving.MaxScaleAnnotation: "9", "other": "x"}},
		"only template": {own, kubeless.AutoscalerSpec{}, own},
	} {
		if got := scaled(tc.annotations, tc.spec); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", title, got, tc.want)
		}
	}
}

// The runtime's time runs out first, so that it is what callers hear of, as far
// as the serving layer waits for that long.
func TestCallersHearOfTheRuntimesTimeout(t *testing.T) {
	for said, want := range map[string]int64{"": 185, "3": 8, "600": 600} {
		fn := &kubeless.Function{}
		fn.Spec.Timeout = said
		spec := template(fn, runtimes.Runtime{}, code{}, built{}).Spec
		if spec.TimeoutSeconds != want || spec.ResponseStartTimeoutSeconds != want {
			t.Errorf("timeout %q: the serving layer waits for %d and %d s, want %d", said, spec.TimeoutSeconds, spec.ResponseStartTimeoutSeconds, want)
		}
	}
}
