package test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/test/platform"
)

// TestMachinesKeepTime has who may set the clock of a machine set it wrong, which
// is the machine's own clock alone, and finds it right again.
func TestMachinesKeepTime(t *testing.T) {
	t.Parallel()
	needsMachines(t)
	pod := machinePod(shell(t))
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_TIME"}}}
	pod = running(t, create(t, namespace(t), pod))
	const off = 5 * time.Hour
	// behind is how much the machine's clock is behind this one, give or take what
	// the question takes.
	behind := func() time.Duration {
		t.Helper()
		seconds, err := strconv.ParseInt(ask(t, pod, "date +%s"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Since(time.Unix(seconds, 0))
	}
	ask(t, pod, fmt.Sprintf("date -s @%d", time.Now().Add(-off).Unix()))
	// The control.
	if by := behind(); by < off-time.Minute {
		t.Fatalf("the clock is %v behind; setting it did nothing", by)
	}
	platform.Eventually(t, "the clock is right", func() error {
		if by := behind(); by.Abs() > 10*time.Second {
			return fmt.Errorf("it is %v behind", by)
		}
		return nil
	})
}
