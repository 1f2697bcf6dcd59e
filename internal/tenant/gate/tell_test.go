package gate

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/tools/events"
)

// Why a pod waits is told once, whatever is taken meanwhile, and again where the
// quota is another one, until the pod waits no more.
func TestTell(t *testing.T) {
	said := events.NewFakeRecorder(10)
	r := &reconciler{events: said, waits: &Waits{}}
	one := pod("a", "1", true)
	wait := func(most, used string) waiting {
		return waiting{&one, corev1.ResourceLimitsCPU, corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse(most)}, corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse(used)}}
	}
	for _, step := range []struct {
		wait   []waiting
		says   string
		events int
	}{
		{[]waiting{wait("2", "2")}, "2 of 2", 1},
		{[]waiting{wait("2", "1500m")}, "2 of 2", 1},
		{[]waiting{wait("3", "3")}, "3 of 3", 2},
		{nil, "", 2},
	} {
		r.tell("acme", step.wait)
		r.tell("other", nil)
		if why := r.waits.Why("a"); !strings.Contains(why, step.says) || (why == "") != (step.says == "") || len(said.Events) != step.events {
			t.Errorf("%q after %d events, want %q after %d", why, len(said.Events), step.says, step.events)
		}
	}
	if len(r.waits.why) > 0 {
		t.Errorf("remembered: %v", r.waits.why)
	}
}
