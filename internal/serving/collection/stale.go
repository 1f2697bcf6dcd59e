package collection

import (
	"slices"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// Knative's defaults (config-gc).
const (
	// sinceMade and sinceRouted are how long a revision is kept after it was
	// made, and after the last route has left it.
	sinceMade   = 48 * time.Hour
	sinceRouted = 15 * time.Hour
	// least is how many revisions that nobody uses are kept whatever their
	// age, to go back to; most is how many are kept at all.
	least, most = 20, 1000
)

// stale are the revisions of a configuration to delete at a time, oldest use
// first, and how long it is until there may be more; 0 means never, as far as
// can be seen.
func stale(config *serving.Configuration, all []serving.Revision, now time.Time) (gone []serving.Revision, again time.Duration) {
	unused := slices.DeleteFunc(slices.Clone(all), func(r serving.Revision) bool { return inUse(config, &r) })
	slices.SortStableFunc(unused, func(a, b serving.Revision) int { return leftAt(&a).Compare(leftAt(&b)) })
	for i := range unused {
		remaining := len(unused) - len(gone)
		if remaining <= least {
			break
		}
		wait := left(&unused[i], now)
		if wait <= 0 || remaining > most {
			gone = append(gone, unused[i])
		} else if again == 0 || wait < again {
			again = wait
		}
	}
	return gone, again
}

// inUse says that a revision gets requests, is about to, or must be kept.
func inUse(config *serving.Configuration, rev *serving.Revision) bool {
	return rev.Labels[serving.RoutingStateLabel] != string(serving.RoutingReserve) ||
		rev.Annotations[serving.KeepAnnotation] == "true" ||
		rev.Name == config.Status.LatestReadyRevisionName || rev.Name == config.Status.LatestCreatedRevisionName
}

// left is how long the revision must still be kept.
func left(rev *serving.Revision, now time.Time) time.Duration {
	return max(sinceMade-now.Sub(rev.CreationTimestamp.Time), sinceRouted-now.Sub(leftAt(rev)))
}

// leftAt is when the last route left the revision, or when it was made where
// that has not been written down.
func leftAt(rev *serving.Revision) time.Time {
	if at, err := time.Parse(time.RFC3339, rev.Annotations[serving.RoutingStateModifiedAnnotation]); err == nil {
		return at
	}
	return rev.CreationTimestamp.Time
}
