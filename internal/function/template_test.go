package function

import (
	"testing"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
)

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
