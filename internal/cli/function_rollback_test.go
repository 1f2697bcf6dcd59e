package cli

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestTheVersionToGoBackTo(t *testing.T) {
	var all []serving.Revision
	for name, status := range map[string]corev1.ConditionStatus{"hi-00001": corev1.ConditionTrue, "hi-00002": corev1.ConditionUnknown, "hi-00004": corev1.ConditionFalse, "hi-00005": corev1.ConditionTrue} {
		all = append(all, serving.Revision{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: serving.RevisionStatus{Conditions: serving.Conditions{{Type: serving.Ready, Status: status, Reason: "Broken"}}}})
	}
	for _, tc := range []struct {
		now, to    int
		want, says string
	}{
		{5, 0, "hi-00002", ""},
		{2, 0, "hi-00001", ""},
		{1, 0, "", "no version before 1"},
		{5, 1, "hi-00001", ""},
		{2, 5, "hi-00005", ""},
		{5, 3, "", "has no version 3; those that there are: 5, 4, 2, 1"},
		{5, 4, "", "cannot run: Broken"},
	} {
		got, err := choose("hi", all, tc.now, tc.to)
		if got != tc.want || (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("from %d to %d: %q, %v; want %q, %q", tc.now, tc.to, got, err, tc.want, tc.says)
		}
	}
}
