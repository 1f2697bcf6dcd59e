package guard

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/sandbox"
)

func TestWeigh(t *testing.T) {
	for _, test := range []struct {
		floor     string
		emulated  bool
		isolation sandbox.Isolation
		want      result
	}{
		{"kernel", false, sandbox.Kernel, keeps},
		{"kernel", false, sandbox.Process, below},
		{"kernel", false, sandbox.EmulatedVM, below},
		{"vm", true, sandbox.EmulatedVM, keeps},
		{"vm", true, sandbox.Kernel, below},
		{"process", false, sandbox.Process, keeps},
		// What is not known is not stopped, and not started either.
		{"process", false, "", unknown},
		{"fortress", false, sandbox.VM, below},
	} {
		tenant := &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme"}, Spec: redoubt.TenantSpec{Floor: test.floor, AllowEmulatedVM: test.emulated}}
		got := weigh(tenant, "handler", test.isolation)
		if got.result != test.want || (got.why == "") != (test.want == keeps) {
			t.Errorf("%q under the floor %s (emulated allowed: %t): %+v, want %v", test.isolation, test.floor, test.emulated, got, test.want)
		}
		if got.why != "" && !strings.Contains(got.why, "acme") {
			t.Errorf("the reason does not name the tenant: %s", got.why)
		}
	}
}
