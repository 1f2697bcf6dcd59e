package sandbox

import (
	"testing"

	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFloorAdmits(t *testing.T) {
	for _, test := range []struct {
		floor    Isolation
		emulated bool
		admits   map[Isolation]bool
	}{
		{Process, false, map[Isolation]bool{Process: true, Kernel: true, EmulatedVM: true, VM: true, "": false, "fortress": false}},
		{Kernel, false, map[Isolation]bool{Process: false, Kernel: true, EmulatedVM: false, VM: true, "": false}},
		{VM, false, map[Isolation]bool{Process: false, Kernel: false, EmulatedVM: false, VM: true, "": false}},
		{Kernel, true, map[Isolation]bool{Process: false, Kernel: true, EmulatedVM: true, VM: true, "": false}},
		{VM, true, map[Isolation]bool{Process: false, Kernel: false, EmulatedVM: true, VM: true, "": false}},
		{"", true, map[Isolation]bool{Process: false, Kernel: false, VM: false}},
	} {
		floor := Floor{Isolation: test.floor, AllowEmulatedVM: test.emulated}
		for isolation, want := range test.admits {
			if got := floor.Admits(isolation); got != want {
				t.Errorf("%+v admits %q: %t, want %t", floor, isolation, got, want)
			}
		}
	}
}

func TestLabelsDoNotStrengthen(t *testing.T) {
	class := func(handler string, label Isolation) *nodev1.RuntimeClass {
		c := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Handler: handler}
		if label != "" {
			c.Labels = map[string]string{IsolationLabel: string(label)}
		}
		return c
	}
	offers := map[string]string{NodePrefix + "microvm": "true", NodePrefix + "kata": "true"}
	underKVM := map[string]string{NodePrefix + "microvm": "true", NodeIsolation("microvm"): "vm"}
	emulated := map[string]string{NodePrefix + "microvm": "true", NodeIsolation("microvm"): "vm-emulated"}
	for _, test := range []struct {
		handler     string
		label, want Isolation
		nodes       []map[string]string
	}{
		{"runc", VM, Process, nil},
		{"runc", Kernel, Process, nil},
		{"gvisor", VM, Kernel, nil},
		{"gvisor", Process, Process, nil},
		{"microvm", VM, EmulatedVM, []map[string]string{offers}},
		{"microvm", VM, EmulatedVM, []map[string]string{underKVM, emulated}},
		{"microvm", VM, VM, []map[string]string{underKVM}},
		{"microvm", EmulatedVM, EmulatedVM, []map[string]string{underKVM}},
		{"kata", VM, VM, []map[string]string{offers}},
		{"kata", "fortress", "", []map[string]string{offers}},
		{"runc", "", "", nil},
	} {
		if got := IsolationOf(class(test.handler, test.label), test.nodes); got != test.want {
			t.Errorf("handler %s labelled %q on %v isolates as %q, want %q", test.handler, test.label, test.nodes, got, test.want)
		}
	}
	if got := HandlerIsolation("kata", []nodev1.RuntimeClass{*class("kata", VM), *class("kata", Process), *class("gvisor", Kernel)}, nil); got != Process {
		t.Errorf("a handler with a weak class isolates as %q", got)
	}
	if got := HandlerIsolation("kata", []nodev1.RuntimeClass{*class("kata", VM), *class("kata", "")}, nil); got != "" {
		t.Errorf("a handler with a class that does not say isolates as %q", got)
	}
	if got := HandlerIsolation("unknown", nil, nil); got != "" {
		t.Errorf("a handler without a class isolates as %q", got)
	}
	if got := HandlerIsolation("runc", []nodev1.RuntimeClass{*class("runc", VM)}, nil); got != Process {
		t.Errorf("the handler runc isolates as %q", got)
	}
}
