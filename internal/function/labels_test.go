package function

import (
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// A label that is taken off a function, as that which lets everybody store calls, is
// taken off what runs it, too.
func TestLabelsGoWithTheFunctionsOwn(t *testing.T) {
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Name: "f", Labels: map[string]string{redoubt.AsyncLabel: "true", "team": "a"}}}
	svc := &serving.Service{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{serving.VisibilityLabel: "cluster-local"}}}
	for _, step := range []struct{ of, want map[string]string }{
		{map[string]string{redoubt.AsyncLabel: "true", "team": "a"}, map[string]string{redoubt.AsyncLabel: "true", "team": "a"}},
		{map[string]string{"team": "b"}, map[string]string{"team": "b"}},
		{nil, map[string]string{}},
		{map[string]string{"team": "c"}, map[string]string{"team": "c"}},
	} {
		fn.Labels = step.of
		handLabelsOn(fn, svc)
		step.want[kubeless.FunctionLabel], step.want[serving.VisibilityLabel] = "f", "cluster-local"
		if !maps.Equal(svc.Labels, step.want) {
			t.Errorf("with %v the service has %v", step.of, svc.Labels)
		}
	}
}
