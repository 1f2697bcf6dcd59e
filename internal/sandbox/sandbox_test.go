package sandbox

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func newClass(name string, isolation Isolation, selector map[string]string) nodev1.RuntimeClass {
	c := nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{IsolationLabel: string(isolation)}}, Handler: name}
	if selector != nil {
		c.Scheduling = &nodev1.Scheduling{NodeSelector: selector}
	}
	return c
}

func TestChoose(t *testing.T) {
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"has": "runc"}}}
	for _, name := range []string{"", "runc", "gvisor", "microvm", "odd", "unlabelled"} {
		node.Status.RuntimeHandlers = append(node.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: name})
	}
	classes := []nodev1.RuntimeClass{
		newClass("odd", "something", nil),
		newClass("microvm", VM, nil),
		newClass("gvisor", Kernel, nil),
		newClass("runc", Process, map[string]string{"has": "runc"}),
		newClass("absent", Kernel, nil),                                         // no node has the handler
		newClass("unlabelled", Process, map[string]string{"has": "unlabelled"}), // no node has the label
	}
	got := Names(choose(classes, []corev1.Node{node}))
	if want := []string{"runc", "gvisor", "microvm", "odd"}; !slices.Equal(got, want) {
		t.Errorf("offered %v, want %v", got, want)
	}
	if got := choose(classes, nil); len(got) != 0 {
		t.Errorf("no node offers %v", got)
	}
}
