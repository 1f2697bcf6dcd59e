package test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/sandbox"
)

// wish is a line of testdata/policy.yaml.
type wish struct {
	Name            string
	Spec, Container json.RawMessage
	Violates        string
	Knative         string
	Lacks           map[string]string
	Unlike          []string
}

// floor is a namespace with what is known of it.
type floor struct {
	name   string
	tenant *redoubt.TenantSpec // nil: nobody's
	level  string              // of Pod Security
	closed map[string]string   // class: reason
}

// TestPolicyTable asks for everything in policy.yaml, at each floor, in each class
// and without one, as a pod and as what makes pods, and compares the verdicts with
// what the floor, the Pod Security level and the class say of it.
func TestPolicyTable(t *testing.T) {
	measured(t)
	text, err := os.ReadFile("testdata/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var table []wish
	if err := yaml.UnmarshalStrict(text, &table); err != nil {
		t.Fatal(err)
	}
	names := append(classes(t), "")
	for _, f := range floors(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			ns := "policy-" + f.name
			if f.tenant != nil {
				newTenant(t, ns, *f.tenant)
			} else {
				ns = namespace(t)
			}
			cfg := config(t)
			cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{}
			dyn, err := dynamic.NewForConfig(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for i, a := range table {
				for _, class := range names {
					for _, kind := range []string{"Pod", "Service", turns[i%len(turns)]} {
						verdict(t, dyn, f, ns, kind, class, a)
					}
				}
			}
		})
	}
}

// turns are the kinds beside pods and Knative services that the lines of the table
// are tried in, by turns.
var turns = []string{"Deployment", "CronJob", "PodTemplate", "StatefulSet", "Job"}

func floors(t *testing.T) []floor {
	t.Helper()
	class, err := shared.Cluster.NodeV1().RuntimeClasses().Get(t.Context(), "microvm", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const process, kernel = `isolates as "process", below the floor`, `isolates as "kernel", below the floor`
	vm := map[string]string{"": "names no class", "runc": process, "gvisor": kernel}
	aboveProcess := map[string]string{"runc": process}
	if class.Labels[sandbox.IsolationLabel] == string(sandbox.EmulatedVM) {
		vm["microvm"] = "is emulated, which does not satisfy the floor"
		aboveProcess["microvm"] = vm["microvm"]
	}
	return []floor{
		{name: "nobodys"},
		{name: "process", tenant: &redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"}, level: "restricted"},
		{name: "kernel", tenant: &redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"}, level: "baseline", closed: aboveProcess},
		{name: "machine", tenant: &redoubt.TenantSpec{Floor: "vm", AllowEmulatedVM: true, DefaultClass: "microvm"}, level: "baseline",
			closed: map[string]string{"runc": process, "gvisor": kernel}},
		{name: "vm", tenant: &redoubt.TenantSpec{Floor: "vm"}, level: "baseline", closed: vm},
	}
}

// verdict tries one thing and judges the answer: refused for one of the reasons
// that there are, or let in.
func verdict(t *testing.T, dyn dynamic.Interface, f floor, ns, kind, class string, a wish) {
	t.Helper()
	really := class
	if class == "" && f.tenant != nil {
		really = f.tenant.DefaultClass
	}
	if slices.Contains(a.Unlike, really) {
		return
	}
	var reasons []string
	if reason, closed := f.closed[class]; closed {
		reasons = append(reasons, reason)
	}
	if kind == "Pod" && (f.level == "restricted" && a.Violates != "" || f.level == "baseline" && a.Violates == "baseline") {
		reasons = append(reasons, "violates PodSecurity")
	}
	if a.Lacks[really] != "" && kind != "Service" {
		reasons = append(reasons, fmt.Sprintf("the class %q cannot do it", really))
	}
	if kind == "Service" && a.Knative == "refused" {
		reasons = append(reasons, "spec.template.spec")
	}
	what := fmt.Sprintf("%s in class %q as %s", a.Name, class, kind)
	err := try(t, dyn, ns, kind, class, a)
	switch {
	case len(reasons) == 0 && err != nil:
		t.Errorf("%s: refused: %v", what, err)
	case len(reasons) > 0 && err == nil:
		t.Errorf("%s: let in, want it refused: %v", what, reasons)
	case err != nil && !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(err.Error(), r) }):
		t.Errorf("%s: answered %q, want one of %q", what, err, reasons)
	case err != nil && strings.Contains(err.Error(), "cannot do it") && !strings.Contains(err.Error(), a.Lacks[really]):
		t.Errorf("%s: answered %q, want %q in it", what, err, a.Lacks[really])
	}
}

func try(t *testing.T, dyn dynamic.Interface, ns, kind, class string, a wish) error {
	t.Helper()
	for i, m := range makers {
		if m.kind.Kind != kind {
			continue
		}
		o, path := maker(i, "a", class), strings.Split(m.path, ".")
		spec, _, _ := unstructured.NestedMap(o.Object, path...)
		if kind != "Pod" && kind != "Service" && spec["restartPolicy"] == nil {
			spec["restartPolicy"] = "Always"
		}
		spec = merged(t, spec, a.Spec)
		containers := spec["containers"].([]any)
		containers[0] = merged(t, containers[0].(map[string]any), a.Container)
		if err := unstructured.SetNestedMap(o.Object, spec, path...); err != nil {
			t.Fatal(err)
		}
		_, err := dyn.Resource(m.kind.GroupVersion().WithResource(m.resource)).Namespace(ns).Create(t.Context(), o,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
		return err
	}
	t.Fatalf("no kind %s", kind)
	return nil
}

// merged is an object with a merge patch, which may be none.
func merged(t *testing.T, object map[string]any, patch json.RawMessage) map[string]any {
	t.Helper()
	if patch == nil {
		return object
	}
	before, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	after, err := jsonpatch.MergePatch(before, patch)
	if err != nil {
		t.Fatal(err)
	}
	var result map[string]any
	if err := json.Unmarshal(after, &result); err != nil {
		t.Fatal(err)
	}
	return result
}
