package tenant

import (
	"fmt"
	"strings"
	"testing"

	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/sandbox"
)

func class(name, isolation string) nodev1.RuntimeClass {
	c := nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Handler: name}
	if isolation != "" {
		c.Labels = map[string]string{sandbox.IsolationLabel: isolation}
	}
	return c
}

func TestResolve(t *testing.T) {
	node := map[string]string{sandbox.NodeIsolation("microvm"): "vm-emulated"}
	for _, handler := range []string{"runc", "gvisor", "microvm", "silent", "going"} {
		node[sandbox.NodePrefix+handler] = "true"
	}
	going := class("going", "vm")
	going.DeletionTimestamp = &metav1.Time{}
	classes := []nodev1.RuntimeClass{
		class("microvm", "vm"), // it claims more than its node reports
		class("gvisor", "kernel"), class("runc", "process"), class("kata", "vm"), class("silent", ""), going,
	}
	for _, test := range []struct {
		name                 string
		spec                 redoubt.TenantSpec
		open, chosen, closed string
		problem              string
		plain                bool
	}{
		{"process", redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"}, "[runc gvisor microvm]", "runc", "kata is one that no node can run now", "", true},
		{"kernel", redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"}, "[gvisor]", "gvisor", `runc isolates as "process", below the floor "kernel"`, "", false},
		{"emulated", redoubt.TenantSpec{Floor: "vm", AllowEmulatedVM: true}, "[microvm]", "", `gvisor isolates as "kernel", below the floor "vm"`, "", false},
		{"none", redoubt.TenantSpec{Floor: "vm"}, "[]", "", `microvm is emulated, which does not satisfy the floor "vm"`, "no class is open", false},
		{"listed", redoubt.TenantSpec{Floor: "process", Classes: []string{"gvisor"}}, "[gvisor]", "", "runc is not among the tenant's classes", "", false},
		{"low default", redoubt.TenantSpec{Floor: "kernel", DefaultClass: "runc"}, "[gvisor]", "", "silent does not say how it isolates", `the default class "runc" cannot be used: it isolates as`, false},
		{"no default", redoubt.TenantSpec{Floor: "kernel", DefaultClass: "nosuch"}, "[gvisor]", "", "going is being deleted", `the default class "nosuch" cannot be used: it does not exist`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := resolve(&test.spec, classes, []map[string]string{node})
			if got := fmt.Sprint(r.open); got != test.open || r.defaultClass != test.chosen || r.plain != test.plain {
				t.Errorf("open %s, default %q, plain %t; want %s, %q, %t", got, r.defaultClass, r.plain, test.open, test.chosen, test.plain)
			}
			if !strings.HasPrefix(r.problem, test.problem) || (r.problem == "") != (test.problem == "") {
				t.Errorf("the problem is %q, want %q", r.problem, test.problem)
			}
			var closed []string
			for _, c := range r.closed {
				closed = append(closed, c.Name+" "+c.Reason)
			}
			if !strings.Contains(strings.Join(closed, "\n"), test.closed) {
				t.Errorf("closed are %q, want %q among them", closed, test.closed)
			}
		})
	}
}
