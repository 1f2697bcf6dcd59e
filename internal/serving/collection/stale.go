package collection

import (
	"cmp"
	"math"
	"slices"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// stale are the revisions of a configuration to delete at a time, oldest use
// first, and how long it is until there may be more; 0 means never, as far as
// can be seen.
func stale(config *serving.Configuration, all []serving.Revision, s settings, now time.Time) (gone []serving.Revision, again time.Duration) {
	unused := slices.DeleteFunc(slices.Clone(all), func(r serving.Revision) bool { return inUse(config, &r) })
	slices.SortFunc(unused, func(a, b serving.Revision) int { // times are known to the second
		return cmp.Or(leftAt(&a).Compare(leftAt(&b)), cmp.Compare(a.ConfigurationGeneration(), b.ConfigurationGeneration()))
	})
	for i := range unused {
		remaining := len(unused) - len(gone)
		if remaining <= s.least {
			break
		}
		wait, ages := s.left(&unused[i], now)
		switch {
		case ages && wait <= 0, s.most >= 0 && remaining > s.most:
			gone = append(gone, unused[i])
		case ages && (again == 0 || wait < again):
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

// left is how long the revision must still be kept, if its age ends that at all.
func (s settings) left(rev *serving.Revision, now time.Time) (wait time.Duration, ages bool) {
	wait = math.MinInt64
	if s.sinceMade >= 0 {
		wait = s.sinceMade - now.Sub(rev.CreationTimestamp.Time)
	}
	if s.sinceRouted >= 0 {
		wait = max(wait, s.sinceRouted-now.Sub(leftAt(rev)))
	}
	return wait, s.sinceMade >= 0 || s.sinceRouted >= 0
}

// leftAt is when the last route left the revision, or when it was made where
// that has not been written down.
func leftAt(rev *serving.Revision) time.Time {
	if at, err := time.Parse(time.RFC3339, rev.Annotations[serving.RoutingStateModifiedAnnotation]); err == nil {
		return at
	}
	return rev.CreationTimestamp.Time
}
