package route

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestDivided(t *testing.T) {
	one := []serving.RolloutShare{{RevisionName: "a", Percent: 100}}
	two := []serving.RolloutShare{{RevisionName: "a", Percent: 40}, {RevisionName: "b", Percent: 60}}
	for _, test := range []struct {
		from    []serving.RolloutShare
		percent int64
		after   time.Duration
		want    string
	}{
		{one, 100, 0, "a 99, new 1"},
		{one, 100, 50 * time.Second, "a 50, new 50"},
		{one, 100, 100 * time.Second, "new 100"},
		{one, 100, time.Hour, "new 100"},
		{one, 100, -time.Second, "a 99, new 1"}, // a clock that was set back
		{one, 10, 50 * time.Second, "a 5, new 5"},
		{two, 100, 0, "a 39, b 60, new 1"},
		{two, 100, 50 * time.Second, "a 20, b 30, new 50"},
		{two, 100, 99 * time.Second, "b 1, new 99"},
	} {
		rollout := &serving.Rollout{RevisionName: "new", StartTime: metav1.NewTime(start), From: test.from}
		got, total := "", int64(0)
		for _, share := range divided(rollout, test.percent, 100*time.Second, start.Add(test.after)) {
			got += fmt.Sprintf(", %s %d", share.RevisionName, share.Percent)
			total += share.Percent
		}
		if got = got[2:]; got != test.want || total != test.percent {
			t.Errorf("%d percent after %v: %s, want %s", test.percent, test.after, got, test.want)
		}
	}
}
