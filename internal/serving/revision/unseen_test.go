package revision

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func list(names ...string) (pods []corev1.Pod) {
	for _, name := range names {
		pods = append(pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return pods
}

// The API server is asked as long as the cache lacks a pod that was made, and no
// longer.
func TestUnseen(t *testing.T) {
	var u unseen
	a, b := types.NamespacedName{Name: "a"}, types.NamespacedName{Name: "b"}
	if u.except(a, nil) {
		t.Error("a pod is missing that nobody made")
	}
	u.add(a, "1")
	u.add(a, "2")
	u.add(b, "3")
	if !u.except(a, list("1")) {
		t.Error("the second pod is not missed")
	}
	if u.except(a, list("2")) || u.except(a, nil) {
		t.Error("a pod is missed that the cache has had")
	}
	u.only(b, list("3"))
	if !u.except(b, nil) {
		t.Error("a pod that there is need not be in the cache")
	}
	u.only(b, nil)
	if u.except(b, nil) {
		t.Error("a pod that is gone is missed")
	}
	u.add(b, "4")
	u.forget(b)
	if u.except(b, nil) || len(u.pods) != 0 {
		t.Errorf("left: %v", u.pods)
	}
}
