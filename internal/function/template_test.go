package function

import (
	"maps"
	"testing"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
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
