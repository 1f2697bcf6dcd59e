package v1

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestFreezableSaysWhyNot(t *testing.T) {
	for _, test := range []struct {
		annotation          string
		liveness, readiness bool
		status              corev1.ConditionStatus
		reason, part        string
	}{
		{"", false, false, corev1.ConditionTrue, "", ""},
		{"30s", false, false, corev1.ConditionTrue, "", ""},
		{"never", true, false, corev1.ConditionFalse, "Never", FreezeAnnotation},
		{"auto", false, true, corev1.ConditionFalse, "Probed", "spec.containers[0].readinessProbe"},
		{"30s", true, true, corev1.ConditionFalse, "Probed", "spec.containers[0].livenessProbe"},
	} {
		rev := &Revision{}
		if test.annotation != "" {
			rev.Annotations = map[string]string{FreezeAnnotation: test.annotation}
		}
		c := Container{}
		if test.liveness {
			c.LivenessProbe = &Probe{}
		}
		if test.readiness {
			c.ReadinessProbe = &Probe{}
		}
		rev.Spec.Containers = []Container{c}
		got := rev.Freezable()
		if got.Status != test.status || got.Reason != test.reason || !strings.Contains(got.Message, test.part) || got.Severity != "Info" {
			t.Errorf("annotation %q, liveness %v, readiness %v: %+v", test.annotation, test.liveness, test.readiness, got)
		}
	}
}
