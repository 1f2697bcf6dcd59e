package collection

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

var now = time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)

// reserves are n revisions in reserve, named from old-0 on. The last was left
// youngest ago, each one before it a step earlier, an hour after it was made.
func reserves(n int, youngest, step time.Duration) []serving.Revision {
	var all []serving.Revision
	for i := range n {
		left := now.Add(-youngest - time.Duration(n-1-i)*step)
		all = append(all, serving.Revision{ObjectMeta: metav1.ObjectMeta{
			Name:              fmt.Sprintf("old-%d", i),
			CreationTimestamp: metav1.NewTime(left.Add(-time.Hour)),
			Labels:            map[string]string{serving.RoutingStateLabel: string(serving.RoutingReserve)},
			Annotations:       map[string]string{serving.RoutingStateModifiedAnnotation: left.Format(time.RFC3339)},
		}})
	}
	return all
}

var configuration serving.Configuration

func TestStale(t *testing.T) {
	const day = 24 * time.Hour
	s := defaults()
	for _, test := range []struct {
		name      string
		revisions []serving.Revision
		gone      int
		again     time.Duration
	}{
		{"few are kept whatever their age", reserves(s.least, 100*day, day), 0, 0},
		{"all above the least", reserves(s.least+5, 10*day, day), 5, 0},
		{"young ones stay", reserves(s.least+5, 0, time.Hour), 0, s.sinceMade - time.Hour - time.Duration(s.least+4)*time.Hour},
		{"the old one among them goes", reserves(s.least+5, 0, 2*time.Hour), 1, time.Hour},
		{"too many, whatever their age", reserves(s.most+3, 0, time.Second), 3, s.sinceMade - time.Hour - time.Duration(s.most-1)*time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			gone, again := stale(&configuration, test.revisions, defaults(), now)
			if len(gone) != test.gone || again != test.again {
				t.Fatalf("%d are stale, the next after %v; want %d and %v", len(gone), again, test.gone, test.again)
			}
			for i := range gone {
				if want := fmt.Sprintf("old-%d", i); gone[i].Name != want {
					t.Errorf("%s is stale, want %s", gone[i].Name, want)
				}
			}
		})
	}
}

// Of several that were left within one second the oldest goes first.
func TestStaleWithinASecond(t *testing.T) {
	all := reserves(3, 0, 0)
	for i, generation := range []string{"12", "2", "7"} {
		all[i].Labels[serving.ConfigurationGenerationLabel] = generation
	}
	gone, _ := stale(&configuration, all, settings{sinceMade: -1, sinceRouted: -1, most: 1}, now)
	if len(gone) != 2 || gone[0].Name != "old-1" || gone[1].Name != "old-2" {
		t.Errorf("%v are stale, want old-1 and old-2", gone)
	}
}

func TestUsedRevisionsAreNotCollected(t *testing.T) {
	config := &serving.Configuration{}
	config.Status.LatestReadyRevisionName, config.Status.LatestCreatedRevisionName = "old-0", "old-1"
	all := reserves(defaults().least+5, 100*24*time.Hour, time.Hour)
	all[2].Labels[serving.RoutingStateLabel] = string(serving.RoutingActive)
	all[3].Labels[serving.RoutingStateLabel] = string(serving.RoutingPending)
	all[4].Annotations[serving.KeepAnnotation] = "true"
	if gone, _ := stale(config, all, defaults(), now); len(gone) != 0 {
		t.Errorf("%s is stale; it is in use or one of the %d to go back to", gone[0].Name, defaults().least)
	}
}
