// Package status spares the API server what is out of date before anybody has
// read it.
package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// moment is how old an object is at most whose first status waits. The time
// that it was made is known to the second.
const moment = 2 * time.Second

// Wait is how long the first status of an object waits to be written; 0 is not
// at all. While it says no more than that the object is not ready yet, it is
// worth nothing by itself: most objects are ready before the time is over. But
// the API server would keep each version in its memory, and etcd on its disk.
func Wait(made metav1.Time, observed int64, conditions serving.Conditions, now time.Time) time.Duration {
	if observed != 0 || conditions.Get(serving.Ready).Status != corev1.ConditionUnknown {
		return 0
	}
	return max(moment-now.Sub(made.Time), 0)
}
