package cli

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What is bounded and not counted is refused, so a tenant is not in force yet.
func TestQuotaThatCounts(t *testing.T) {
	list := func(most string) corev1.ResourceList {
		return corev1.ResourceList{"count/services.serving.knative.dev": resource.MustParse(most)}
	}
	for name, c := range map[string]struct {
		status corev1.ResourceQuotaStatus
		counts bool
	}{
		"not seen yet":         {corev1.ResourceQuotaStatus{}, false},
		"known, not counted":   {corev1.ResourceQuotaStatus{Hard: list("2000")}, false},
		"counted, but changed": {corev1.ResourceQuotaStatus{Hard: list("5"), Used: list("1")}, false},
		"counted":              {corev1.ResourceQuotaStatus{Hard: list("2k"), Used: list("0")}, true},
	} {
		quota := &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("2000")}, Status: c.status}
		if missing := uncountedBy(quota); (missing == "") != c.counts {
			t.Errorf("%s: %q is missing, want it to count: %t", name, missing, c.counts)
		}
	}
}
