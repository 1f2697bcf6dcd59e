package node

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/sandbox"
)

func TestChanges(t *testing.T) {
	for _, test := range []struct {
		name     string
		labels   map[string]string
		handlers []string
		want     map[string]string // "" means removed
	}{
		{"new node", nil, []string{"", "runc", "gvisor"}, map[string]string{sandbox.NodePrefix + "runc": "true", sandbox.NodePrefix + "gvisor": "true"}},
		{"nothing to do", map[string]string{sandbox.NodePrefix + "runc": "true"}, []string{"", "runc"}, map[string]string{}},
		{"handler gone", map[string]string{sandbox.NodePrefix + "runc": "true", sandbox.NodePrefix + "gvisor": "true"}, []string{"runc"}, map[string]string{sandbox.NodePrefix + "gvisor": ""}},
		{"runtime reports nothing", map[string]string{sandbox.NodePrefix + "runc": "true"}, nil, map[string]string{sandbox.NodePrefix + "runc": ""}},
		{"value was changed", map[string]string{sandbox.NodePrefix + "runc": "false"}, []string{"runc"}, map[string]string{sandbox.NodePrefix + "runc": "true"}},
		{"others' labels stay", map[string]string{"kubernetes.io/os": "linux"}, nil, map[string]string{}},
		{"a name that is no label", nil, []string{"no/label"}, map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: test.labels}}
			for _, h := range test.handlers {
				n.Status.RuntimeHandlers = append(n.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: h})
			}
			got := map[string]string{}
			for key, value := range changes(n, "") {
				if got[key] = ""; value != nil {
					got[key] = *value
				}
			}
			if !maps.Equal(got, test.want) {
				t.Errorf("changes = %v, want %v", got, test.want)
			}
		})
	}
}

func TestMachinesAreLabelledWhereTheyAreOffered(t *testing.T) {
	n := &corev1.Node{Status: corev1.NodeStatus{RuntimeHandlers: []corev1.NodeRuntimeHandler{{Name: "runc"}, {Name: "microvm"}}}}
	label := sandbox.NodeIsolation("microvm")
	for _, machines := range []string{"vm", "vm-emulated"} {
		if got := changes(n, machines)[label]; got == nil || *got != machines {
			t.Errorf("under %s the label becomes %v", machines, got)
		}
	}
	if got, ok := changes(n, "")[label]; ok {
		t.Errorf("what is not known is labelled %v", got)
	}
	n.Labels, n.Status.RuntimeHandlers = map[string]string{label: "vm"}, n.Status.RuntimeHandlers[:1]
	if got, ok := changes(n, "vm")[label]; !ok || got != nil {
		t.Errorf("without the handler the label becomes %v, want it removed", got)
	}
}
