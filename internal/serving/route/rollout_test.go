package route

import (
	"cmp"
	"fmt"
	"strings"
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
		rollout := &serving.Rollout{RevisionName: "new", StartTime: metav1.NewTime(start), Percent: test.percent, From: test.from}
		got, total := "", int64(0)
		for _, share := range divided(rollout, 100*time.Second, start.Add(test.after)) {
			got += fmt.Sprintf(", %s %d", share.RevisionName, share.Percent)
			total += share.Percent
		}
		if got = got[2:]; got != test.want || total != test.percent {
			t.Errorf("%d percent after %v: %s, want %s", test.percent, test.after, got, test.want)
		}
	}
}

// What a status was made of can be told from it, whatever is beside a rollout,
// so that a target which cannot be resolved does not stop it.
func TestAssigned(t *testing.T) {
	share := func(revision, tag string, percent int64, latest bool) serving.TrafficTarget {
		return serving.TrafficTarget{RevisionName: revision, Tag: tag, Percent: &percent, LatestRevision: &latest}
	}
	rollout := func(tag string, percent int64) serving.Rollout {
		return serving.Rollout{ConfigurationName: "config", Tag: tag, RevisionName: "new", Percent: percent}
	}
	tagOnly := serving.TrafficTarget{RevisionName: "new", Tag: "try", LatestRevision: new(bool)}
	for name, test := range map[string]struct {
		traffic  []serving.TrafficTarget
		rollouts []serving.Rollout
		want     string
	}{
		"nothing yet":    {},
		"no rollout":     {[]serving.TrafficTarget{share("a", "", 10, false), share("new", "", 90, true)}, nil, "a 10, new 90"},
		"one":            {[]serving.TrafficTarget{share("a", "", 30, false), share("b", "", 20, false), share("new", "", 50, true)}, []serving.Rollout{rollout("", 100)}, "config 100"},
		"a fixed share":  {[]serving.TrafficTarget{share("a", "", 10, false), share("a", "", 45, false), share("new", "", 45, true)}, []serving.Rollout{rollout("", 90)}, "a 10, config 90"},
		"two":            {[]serving.TrafficTarget{share("a", "", 30, false), share("new", "x", 20, true), share("a", "", 1, false), share("new", "y", 49, true)}, []serving.Rollout{rollout("x", 50), rollout("y", 50)}, "config 50, config 50"},
		"beside a tag":   {[]serving.TrafficTarget{tagOnly, share("a", "", 99, false), share("new", "", 1, true)}, []serving.Rollout{rollout("", 100)}, "new 0, config 100"},
		"its own pinned": {[]serving.TrafficTarget{share("a", "", 30, false), share("new", "", 20, true), share("new", "", 50, false)}, []serving.Rollout{rollout("", 50)}, "config 50, new 50"},
		"impossible":     {[]serving.TrafficTarget{share("new", "", 1, true)}, []serving.Rollout{rollout("", 1000)}, "config 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, target := range assigned(&serving.RouteStatus{RouteStatusFields: serving.RouteStatusFields{Traffic: test.traffic}, Rollouts: test.rollouts}) {
				got = append(got, fmt.Sprint(cmp.Or(target.ConfigurationName, target.RevisionName), " ", *cmp.Or(target.Percent, new(int64))))
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
