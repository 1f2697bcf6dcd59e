package node

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestChanges(t *testing.T) {
	for _, test := range []struct {
		name     string
		labels   map[string]string
		handlers []string
		want     map[string]string // "" means removed
	}{
		{"new node", nil, []string{"", "runc", "gvisor"}, map[string]string{LabelPrefix + "runc": "true", LabelPrefix + "gvisor": "true"}},
		{"nothing to do", map[string]string{LabelPrefix + "runc": "true"}, []string{"", "runc"}, map[string]string{}},
		{"handler gone", map[string]string{LabelPrefix + "runc": "true", LabelPrefix + "gvisor": "true"}, []string{"runc"}, map[string]string{LabelPrefix + "gvisor": ""}},
		{"runtime reports nothing", map[string]string{LabelPrefix + "runc": "true"}, nil, map[string]string{LabelPrefix + "runc": ""}},
		{"value was changed", map[string]string{LabelPrefix + "runc": "false"}, []string{"runc"}, map[string]string{LabelPrefix + "runc": "true"}},
		{"others' labels stay", map[string]string{"kubernetes.io/os": "linux"}, nil, map[string]string{}},
		{"a name that is no label", nil, []string{"no/label"}, map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: test.labels}}
			for _, h := range test.handlers {
				n.Status.RuntimeHandlers = append(n.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: h})
			}
			got := map[string]string{}
			for key, value := range changes(n) {
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
