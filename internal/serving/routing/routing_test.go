package routing

import (
	"slices"
	"testing"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A revision is made, routed, left and routed again.
func TestRoutingStateFollowsTheRoutes(t *testing.T) {
	rev := &serving.Revision{}
	for _, step := range []struct {
		name   string
		routes []string
		newest bool
		state  serving.RoutingState
		news   bool
		since  time.Duration
	}{
		{"made", nil, true, serving.RoutingPending, true, 0},
		{"looked at again", nil, true, serving.RoutingPending, false, 0},
		{"routed", []string{"a"}, true, serving.RoutingActive, true, 2 * time.Hour},
		{"routed twice", []string{"a", "b"}, true, serving.RoutingActive, true, 2 * time.Hour},
		{"left, though the newest", nil, true, serving.RoutingReserve, true, 4 * time.Hour},
		{"looked at while in reserve", nil, true, serving.RoutingReserve, false, 4 * time.Hour},
		{"routed again", []string{"b"}, false, serving.RoutingActive, true, 6 * time.Hour},
	} {
		t.Run(step.name, func(t *testing.T) {
			at := start.Add(step.since)
			if news := mark(rev, step.routes, step.newest, at); news != step.news {
				t.Errorf("news: %v, want %v", news, step.news)
			}
			if got := rev.Labels[serving.RoutingStateLabel]; got != string(step.state) {
				t.Errorf("state %q, want %q", got, step.state)
			}
			if got := rev.Annotations[serving.RoutingStateModifiedAnnotation]; got != at.Format(time.RFC3339) {
				t.Errorf("since %s, want %s", got, at.Format(time.RFC3339))
			}
		})
	}
	if got := rev.Annotations[serving.RoutesAnnotation]; got != "b" {
		t.Errorf("routes %q, want b", got)
	}
}

func TestOvertakenRevisionIsInReserve(t *testing.T) {
	rev := &serving.Revision{}
	mark(rev, nil, false, start)
	if got := rev.Labels[serving.RoutingStateLabel]; got != string(serving.RoutingReserve) {
		t.Errorf("state %q of a revision that was never routed and is not the newest, want reserve", got)
	}
}

func TestRevisionsOfARoute(t *testing.T) {
	route := &serving.Route{}
	route.Spec.Traffic = []serving.TrafficTarget{{RevisionName: "wanted"}, {ConfigurationName: "config"}}
	route.Status.Traffic = []serving.TrafficTarget{{RevisionName: "had"}, {RevisionName: "had", Tag: "again"}}
	if got := revisions(route); !slices.Equal(got, []string{"wanted", "had"}) {
		t.Errorf("got %v, want wanted and had", got)
	}
}
