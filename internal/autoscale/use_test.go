package autoscale

import (
	"testing"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestUseIsBroughtToItsTarget(t *testing.T) {
	for name, tc := range map[string]struct {
		total           float64 // with a target of 50 for each
		measured, ready int32
		want            int32
	}{
		"nothing measured":           {0, 0, 3, 3},
		"nothing measured nor ready": {0, 0, 0, 1},
		"right":                      {100, 2, 2, 2},
		"a little more":              {109, 2, 2, 2},
		"more":                       {115, 2, 2, 3},
		"three times as much":        {300, 2, 2, 4},
		"much more, of one":          {5000, 1, 1, 4},
		"much more, of ten":          {50000, 10, 10, 20},
		"less":                       {60, 3, 3, 2},
		"unused":                     {0, 3, 3, 1},
		"more, with a new one":       {300, 2, 3, 6},
		"a new one will help":        {130, 2, 3, 3},
		"less, with a new one":       {60, 3, 4, 3},
		"more were there":            {100, 4, 1, 2},
	} {
		if got := wantedByUse(50, Use{Total: tc.total, Measured: tc.measured}, tc.ready); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// A measurement is decided by once; fewer must have been enough for a while,
// and none are left only where no route leads to.
func TestScaleByUse(t *testing.T) {
	s := settings(t, map[string]string{serving.ClassAnnotation: serving.ClassHPA, serving.MaxScaleAnnotation: "3"}, 0)
	if s.Metric != CPUUse || s.Target != defaultCPU || s.Min != 1 || s.ScaleDownDelay != defaultCalm {
		t.Fatalf("defaults: %+v", s)
	}
	tracker := NewTracker(start)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	tracker.Measured(Use{At: at(1), Total: 200, Measured: 1})
	for _, second := range []int{1, 3, 5} {
		if got := tracker.Want(s, 1, 1, false, at(second)); got != 3 && second == 1 || got != 1 && second > 1 {
			t.Errorf("at %d s: %d", second, got)
		}
	}
	tracker.Measured(Use{At: at(16), Total: 10, Measured: 3})
	if got := tracker.Want(s, 3, 3, false, at(16)); got != 3 {
		t.Errorf("taken away at once: %d", got)
	}
	tracker.Measured(Use{At: at(400), Total: 10, Measured: 3})
	if got := tracker.Want(s, 3, 3, false, at(400)); got != 1 {
		t.Errorf("after five minutes: %d, want 1", got)
	}
	if got := tracker.Want(s, 1, 1, false, at(4000)); got != 1 {
		t.Errorf("idle, with a route: %d, want 1", got)
	}
	s.Min = 0
	if got := tracker.Want(s, 1, 1, false, at(4000)); got != 0 {
		t.Errorf("idle, without a route: %d, want none", got)
	}
}

func TestWeightedAverageFollowsSooner(t *testing.T) {
	var w Window
	for second := range 120 {
		w.Add(start.Add(time.Duration(second)*time.Second), float64(second/110)*100) // 100 in the last ten seconds
	}
	now := start.Add(119 * time.Second)
	linear, weighted := w.Average(now, time.Minute, false), w.Average(now, time.Minute, true)
	if linear < 16 || linear > 17 || weighted < 60 || weighted > 75 {
		t.Errorf("linear %g, weighted %g", linear, weighted)
	}
}
