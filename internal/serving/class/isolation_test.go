package class

import (
	"strings"
	"testing"

	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/sandbox"
)

func TestClassSaysWhatItsNodesReport(t *testing.T) {
	for _, test := range []struct {
		label, reported string // reported by the only node
		want            string // empty: left as it is
	}{
		{"vm-emulated", "vm", `"redoubt.dev/isolation":"vm"`},
		{"vm", "vm-emulated", `"redoubt.dev/isolation":"vm-emulated"`},
		{"vm", "vm", ""},
		{"vm-emulated", "", ""},
		{"process", "vm", ""},
	} {
		class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{sandbox.IsolationLabel: test.label}}, Handler: "microvm"}
		node := map[string]string{sandbox.NodePrefix + "microvm": "true"}
		if test.reported != "" {
			node[sandbox.NodeIsolation("microvm")] = test.reported
		}
		got := string(relabel(class, []map[string]string{node}))
		if !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("labelled %s, reported %q: patch %s, want %q", test.label, test.reported, got, test.want)
		}
	}
}
