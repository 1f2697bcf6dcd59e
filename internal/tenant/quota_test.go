package tenant

import (
	"bytes"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// Whatever a tenant's quota says or not, a namespace does not fill the cluster's
// store; and what each service consists of leaves room for as many as there may be.
func TestObjectsAreCounted(t *testing.T) {
	services := int64(5000)
	for _, test := range []struct {
		name  corev1.ResourceName
		quota redoubt.TenantQuota
		most  int64 // 0: not counted
	}{
		{"count/configmaps", redoubt.TenantQuota{}, 2000},
		{"count/secrets", redoubt.TenantQuota{}, 2000},
		{"count/jobs.batch", redoubt.TenantQuota{Services: &services}, 2000},
		{"count/natstriggers.kubeless.io", redoubt.TenantQuota{}, 2000},
		{"count/replicasets.apps", redoubt.TenantQuota{}, 48000},
		{"count/pods", redoubt.TenantQuota{}, 10000},
		{"count/pods", redoubt.TenantQuota{Pods: &services}, 15000},
		{corev1.ResourcePods, redoubt.TenantQuota{}, 0},
		{corev1.ResourcePods, redoubt.TenantQuota{Pods: &services}, 5000},
		{countedServices, redoubt.TenantQuota{}, 2000},
		{countedFunctions, redoubt.TenantQuota{Services: &services}, 2000},
		{"count/routes.serving.knative.dev", redoubt.TenantQuota{}, 4000},
		{"count/revisions.serving.knative.dev", redoubt.TenantQuota{Services: &services}, 168000},
		{"count/routes.serving.knative.dev", redoubt.TenantQuota{Services: &services}, 7000},
		{"count/configurations.serving.knative.dev", redoubt.TenantQuota{Services: &services}, 7000},
		{"count/services", redoubt.TenantQuota{Services: &services}, 7000},
		{countedServices, redoubt.TenantQuota{Services: &services}, 4999},
	} {
		hard := hardOf(&test.quota, corev1.ResourceList{countedServices: *resource.NewQuantity(1, resource.DecimalSI)})
		most := hard[test.name]
		if most.Value() != test.most {
			t.Errorf("of %s there may be %d with %+v, want %d", test.name, most.Value(), test.quota, test.most)
		}
	}
}

// What a tenant's role lets its users make, they make no end of.
func TestWhatUsersMakeIsCounted(t *testing.T) {
	data, err := os.ReadFile("../../config/rbac/tenant.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal(bytes.Split(data, []byte("\n---\n"))[0], &role); err != nil {
		t.Fatal(err)
	}
	sized := kindsOf(t, "../../config/policy/tenant-size.yaml")
	hard := hardOf(&redoubt.TenantQuota{}, nil)
	counted := 0
	for _, rule := range role.Rules {
		for _, kind := range rule.Resources {
			if !slices.Contains(rule.Verbs, "create") || strings.Contains(kind, "/") ||
				kind == "kafkatriggers" || kind == "kinesistriggers" { // nobody makes these
				continue
			}
			name := corev1.ResourceName(strings.TrimSuffix("count/"+kind+"."+rule.APIGroups[0], "."))
			if _, ok := hard[name]; !ok {
				t.Errorf("nothing counts %s", name)
			}
			if !slices.Contains(sized, name) {
				t.Errorf("nothing bounds the size of %s", name)
			}
			counted++
		}
	}
	if counted < 20 {
		t.Errorf("the role lets its users make %d kinds: it was not read", counted)
	}
}

// kindsOf are the resources that the first policy of a file matches, as a quota
// calls them.
func kindsOf(t *testing.T, path string) (names []corev1.ResourceName) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var policy admission.ValidatingAdmissionPolicy
	if err := yaml.Unmarshal(bytes.Split(data, []byte("\n---\n"))[0], &policy); err != nil {
		t.Fatal(err)
	}
	for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
		for _, kind := range rule.Resources {
			names = append(names, corev1.ResourceName(strings.TrimSuffix("count/"+kind+"."+rule.APIGroups[0], ".")))
		}
	}
	return names
}

// A number that nobody can count must not become one below 0, which no quota has.
func TestNoNumberIsTooLarge(t *testing.T) {
	most := int64(math.MaxInt64)
	for name, n := range hardOf(&redoubt.TenantQuota{Services: &most, Functions: &most, Pods: &most}, nil) {
		if n.Sign() < 0 {
			t.Errorf("of %s there may be %s", name, n.String())
		}
	}
}

// The status says how much is used of what the owner has bounded.
func TestUseOfWhatIsBounded(t *testing.T) {
	used, most := corev1.ResourceList{countedServices: resource.MustParse("3"), countedFunctions: resource.MustParse("2")}, int64(5)
	got := reported(used, &redoubt.TenantQuota{Functions: &most})
	if got.Services != nil || got.Functions == nil || *got.Functions != 2 {
		t.Errorf("it says %+v", got)
	}
}
