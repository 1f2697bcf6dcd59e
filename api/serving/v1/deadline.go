package v1

import "time"

// ProgressDeadlineAnnotation is how long a new revision has to get its first
// instance ready, DefaultProgressDeadline if it is missing.
const ProgressDeadlineAnnotation = "serving.knative.dev/progress-deadline"

// DefaultProgressDeadline is that of Knative (config-deployment).
const DefaultProgressDeadline = 10 * time.Minute

// ProgressDeadline is the owner's, whose annotation was checked when it was
// written.
func (r *Revision) ProgressDeadline() time.Duration {
	for _, name := range []string{ProgressDeadlineAnnotation, "serving.knative.dev/progressDeadline"} {
		if d, err := time.ParseDuration(r.Annotations[name]); err == nil && d > 0 {
			return d
		}
	}
	return DefaultProgressDeadline
}
