package configuration

import (
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func revision(name string, generation int, ready corev1.ConditionStatus) serving.Revision {
	return serving.Revision{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{serving.ConfigurationGenerationLabel: strconv.Itoa(generation)}},
		Status:     serving.RevisionStatus{Conditions: serving.Conditions{{Type: serving.Ready, Status: ready}}},
	}
}

func TestLatestReadyNeverGoesBack(t *testing.T) {
	all := []serving.Revision{
		revision("a-1", 1, corev1.ConditionTrue),
		revision("a-2", 2, corev1.ConditionTrue),
		revision("a-3", 3, corev1.ConditionTrue),
		revision("a-4", 4, corev1.ConditionFalse),
	}
	for _, test := range []struct{ present, want string }{
		{"", "a-3"}, {"a-1", "a-3"}, {"a-3", "a-3"}, {"gone", "a-3"},
	} {
		if got := latestReady(test.present, all); got != test.want {
			t.Errorf("after %q got %q, want %q", test.present, got, test.want)
		}
	}
	if got := latestReady("a-1", all[:1]); got != "a-1" {
		t.Errorf("got %q, want it to stay a-1", got)
	}
}

func TestFailedRevisionKeepsTheOneBefore(t *testing.T) {
	config := &serving.Configuration{}
	config.Status.LatestReadyRevisionName = "a-1"
	old, failed := revision("a-1", 1, corev1.ConditionTrue), revision("a-2", 2, corev1.ConditionFalse)
	report(config, &failed, []serving.Revision{old, failed}, nil)
	s := config.Status
	if s.LatestReadyRevisionName != "a-1" || s.LatestCreatedRevisionName != "a-2" {
		t.Errorf("latest ready %q and created %q, want a-1 and a-2", s.LatestReadyRevisionName, s.LatestCreatedRevisionName)
	}
	if c := s.Conditions.Get(serving.Ready); c.Status != corev1.ConditionFalse || c.Reason != "RevisionFailed" || c.Message == "" {
		t.Errorf("Ready is %+v, want it False with RevisionFailed and a message", c)
	}
}
