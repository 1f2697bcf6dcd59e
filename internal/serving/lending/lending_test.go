package lending

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// What the annotation says is not trusted: only requests that are there change,
// and to something.
func TestNotesOfOthers(t *testing.T) {
	for note, want := range map[string]string{
		`{"web": "300m"}`:                 "300m",
		`{"web": "300m", "no such": "2"}`: "300m",
		`{"memory only": "2"}`:            "30m",
		`{"web": "0"}`:                    "30m",
		`{"web": "-1"}`:                   "30m",
		`{"web": "much"}`:                 "30m",
		`{"web": {}}`:                     "30m",
		`["web"]`:                         "30m",
		``:                                "30m",
		`{"web": "300m"` + strings.Repeat(" ", maxNoted) + `}`: "30m",
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "memory only"},
			{Name: "web", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("30m")}}},
		}}}
		got := asking(pod, read(note))
		if cpu := got.Spec.Containers[1].Resources.Requests.Cpu().String(); cpu != want {
			t.Errorf("%.60s: it asks for %s, want %s", note, cpu, want)
		}
		if len(got.Spec.Containers[0].Resources.Requests) != 0 {
			t.Errorf("%.60s: a container without requests has some", note)
		}
	}
}

// The node has what was lent when it says so of every container.
func TestLent(t *testing.T) {
	of := func(cpu string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{serving.LentAnnotation: `{"web": "300m"}`}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Resources: corev1.ResourceRequirements{Requests: of("30m")}}, {Name: "side"}}},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "side"}, {Name: "web", Resources: &corev1.ResourceRequirements{Requests: of("300m")}}}},
	}
	if Lent(pod) {
		t.Error("the node still has all of it")
	}
	pod.Status.ContainerStatuses[1].Resources.Requests = of("0.03")
	if !Lent(pod) {
		t.Error("the node has let go of it")
	}
	if got := Asks(pod); got != 300 {
		t.Errorf("it asks for %dm when it lends nothing, want 300m", got)
	}
	pod.Annotations = nil
	if Lent(pod) {
		t.Error("nothing was lent")
	}
	if got := Asks(pod); got != 30 {
		t.Errorf("it asks for %dm, want 30m", got)
	}
}
