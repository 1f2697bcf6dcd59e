package test

import (
	"fmt"
	"strings"
	"testing"

	"redoubt.dev/redoubt/test/platform"
)

// A revision is scaled by what its instances take, and says why where that
// cannot be known.
func TestScaleByUse(t *testing.T) {
	t.Parallel()
	shell(t)
	ns := namespace(t)
	heavy := service{ns: ns, name: "heavy"}
	heavy.create(t, "--scale-metric=memory", "--scale-target=1", "--scale-max=2")
	unknown := service{ns: ns, name: "unknown"}
	unknown.create(t, "--scale-metric=cpu")
	shared.Kubectl(t, "-n", ns, "exec", heavy.pods(t, "")[0].Name, "--", "dd", "if=/dev/zero", "of=/dev/shm/fill", "bs=1M", "count=8")
	platform.Eventually(t, "an instance more", func() error {
		if n := len(heavy.pods(t, "")); n != 2 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	platform.Eventually(t, "the reason", func() error {
		out := shared.Kubectl(t, "-n", ns, "events", "--for=revision/unknown-00001")
		if !strings.Contains(out, "FailedGetResourceMetric") || !strings.Contains(out, "resources.requests.cpu") {
			return fmt.Errorf("the events are %q", out)
		}
		return nil
	})
	if n := len(unknown.pods(t, "")); n != 1 {
		t.Errorf("%d instances of a revision that cannot be measured", n)
	}
}
