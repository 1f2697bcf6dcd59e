package sandbox

import "testing"

func TestWeakestNodeDecides(t *testing.T) {
	node := func(isolation string) map[string]string {
		labels := map[string]string{NodePrefix + "microvm": "true"}
		if isolation != "" {
			labels[NodeIsolation("microvm")] = isolation
		}
		return labels
	}
	without := map[string]string{NodeIsolation("microvm"): "vm-emulated"}
	for _, test := range []struct {
		name  string
		nodes []map[string]string
		want  Isolation
		known bool
	}{
		{"all under KVM", []map[string]string{node("vm"), node("vm")}, VM, true},
		{"one emulates", []map[string]string{node("vm"), node("vm-emulated")}, EmulatedVM, true},
		{"one does not say", []map[string]string{node("vm"), node("")}, EmulatedVM, true},
		{"one claims what there is not", []map[string]string{node("fortress")}, EmulatedVM, true},
		{"one without the handler does not count", []map[string]string{node("vm"), without}, VM, true},
	} {
		if got, known := Weakest("microvm", test.nodes); got != test.want || known != test.known {
			t.Errorf("%s: %s, %t; want %s, %t", test.name, got, known, test.want, test.known)
		}
	}
	for _, nodes := range [][]map[string]string{nil, {without}, {node("")}} {
		if got, known := Weakest("microvm", nodes); known {
			t.Errorf("nodes %v are taken to say %s", nodes, got)
		}
	}
}
