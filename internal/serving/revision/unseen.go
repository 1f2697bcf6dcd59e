package revision

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// unseen are the pods that this controller has made, by their revisions, and that
// its cache may not have yet. Where there are none, the cache is right about what
// is missing, and nobody waits for the API server.
type unseen struct {
	mu   sync.Mutex
	pods map[types.NamespacedName][]string // guarded by mu
}

func (u *unseen) add(rev types.NamespacedName, pod string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pods == nil {
		u.pods = map[types.NamespacedName][]string{}
	}
	u.pods[rev] = append(u.pods[rev], pod)
}

// except leaves out pods that the cache has, and says whether others remain.
func (u *unseen) except(rev types.NamespacedName, cached []corev1.Pod) bool {
	return u.leave(rev, func(pod string) bool { return !named(cached, pod) })
}

// only leaves those that there are, of which the API server knows all.
func (u *unseen) only(rev types.NamespacedName, live []corev1.Pod) {
	u.leave(rev, func(pod string) bool { return named(live, pod) })
}

// forget leaves none of a revision that is no more.
func (u *unseen) forget(rev types.NamespacedName) {
	u.leave(rev, func(string) bool { return false })
}

func (u *unseen) leave(rev types.NamespacedName, stays func(pod string) bool) (any bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	left := slices.DeleteFunc(u.pods[rev], func(pod string) bool { return !stays(pod) })
	if len(left) == 0 {
		delete(u.pods, rev)
		return false
	}
	u.pods[rev] = left
	return true
}

func named(pods []corev1.Pod, name string) bool {
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Name == name })
}
