package status

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestWait(t *testing.T) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name     string
		observed int64
		ready    corev1.ConditionStatus
		age      time.Duration
		want     time.Duration
	}{
		{"new", 0, corev1.ConditionUnknown, 200 * time.Millisecond, 1800 * time.Millisecond},
		{"ready", 0, corev1.ConditionTrue, 200 * time.Millisecond, 0},
		{"failed", 0, corev1.ConditionFalse, 200 * time.Millisecond, 0},
		{"changed", 1, corev1.ConditionUnknown, 200 * time.Millisecond, 0},
		{"late", 0, corev1.ConditionUnknown, time.Minute, 0},
	} {
		conditions := serving.Conditions{{Type: serving.Ready, Status: test.ready}}
		if got := Wait(metav1.NewTime(made), test.observed, conditions, made.Add(test.age)); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
