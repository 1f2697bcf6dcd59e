package service

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestInheritedLeavesTheServiceAsItIs(t *testing.T) {
	own := map[string]string{"a": "1", corev1.LastAppliedConfigAnnotation: "{}", serving.RolloutDurationAnnotation: "1m"}
	handed := inherited(own, serving.RolloutDurationAnnotation)
	if len(handed) != 1 || handed["a"] != "1" {
		t.Errorf("handed on %v, want a alone", handed)
	}
	if len(own) != 3 {
		t.Errorf("the service's own are %v now", own)
	}
}

func TestOverallNamesTheWorstPart(t *testing.T) {
	yes := serving.Condition{Status: corev1.ConditionTrue}
	unknown := serving.Condition{Status: corev1.ConditionUnknown, Reason: "Waiting"}
	no := serving.Condition{Status: corev1.ConditionFalse, Reason: "Failed"}
	for _, test := range []struct {
		parts []serving.Condition
		want  serving.Condition
	}{
		{[]serving.Condition{yes, yes}, yes},
		{[]serving.Condition{yes, unknown}, unknown},
		{[]serving.Condition{unknown, no}, no},
	} {
		got := overall(test.parts...)
		if got.Status != test.want.Status || got.Reason != test.want.Reason {
			t.Errorf("overall(%v) = %v, want %v", test.parts, got, test.want)
		}
	}
}
