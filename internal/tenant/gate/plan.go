package gate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// waiting is a pod that there is no room for.
type waiting struct {
	pod        *corev1.Pod
	lacking    corev1.ResourceName
	hard, used corev1.ResourceList
}

// plan says whose gate is to be taken off, and who waits on. Pods come the
// oldest first; one that is too large lets smaller ones pass. What is through
// already takes its share, although its gate may still be seen; where that is
// not confirmed, it is asked for again.
func plan(hard corev1.ResourceList, pods []corev1.Pod, through map[types.UID]bool) (open []*corev1.Pod, wait []waiting) {
	used, later := corev1.ResourceList{}, []*corev1.Pod(nil)
	for i := range pods {
		pod := &pods[i]
		confirmed, passed := through[pod.UID]
		if gated(pod) && !passed {
			later = append(later, pod)
			continue
		}
		add(used, Need(pod))
		if gated(pod) && !confirmed {
			open = append(open, pod)
		}
	}
	for _, pod := range later {
		need := Need(pod)
		if lacking := lacks(hard, used, need); lacking != "" {
			wait = append(wait, waiting{pod, lacking, hard, used.DeepCopy()})
			continue
		}
		add(used, need)
		open = append(open, pod)
	}
	return open, wait
}

func (w *waiting) why(tenant string) string {
	need := Need(w.pod)
	most, taken, more := w.hard[w.lacking], w.used[w.lacking], need[w.lacking]
	return fmt.Sprintf("There is no room in the quota of the tenant %q: the pod needs %s of %s, and %s of %s are taken in all of the tenant's namespaces together; end other pods, or ask the owner of the platform for more",
		tenant, more.String(), w.lacking, taken.String(), most.String())
}
