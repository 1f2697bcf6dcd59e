package test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// TestControllersGiveFewRights is what the controllers' own user may give whom:
// the gateway secrets by name, tenants' users their role in their namespaces.
// As an administrator every one of these writes succeeds.
func TestControllersGiveFewRights(t *testing.T) {
	const name = "tenant-given"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel"})
	const head = `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "`
	role := func(name, rules string) string {
		return head + `Role", "metadata": {"name": "` + name + `"}, "rules": [` + rules + `]}`
	}
	bind := func(name, kind, to, subject string) string {
		return head + `RoleBinding", "metadata": {"name": "` + name + `"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "` + kind + `", "name": "` + to + `"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", ` + subject + `}]}`
	}
	const secrets = `"apiGroups": [""], "resources": ["secrets"]`
	const gateway, controller = `"kind": "User", "name": "redoubt:gateway"`, `"kind": "User", "name": "redoubt:controller"`
	asController, asAdministrator := clientAs(t, "redoubt:controller"), clientAs(t, "")
	for _, test := range []struct {
		what, resource, object, manifest, refusal string // none: taken
	}{
		{"a secret by name", "roles", "redoubt-gateway", role("redoubt-gateway", `{`+secrets+`, "verbs": ["get"], "resourceNames": ["tls"]}`), ""},
		{"all secrets", "roles", "redoubt-gateway", role("redoubt-gateway", `{`+secrets+`, "verbs": ["get"]}`), "read by name"},
		{"secrets to be listed", "roles", "redoubt-gateway", role("redoubt-gateway", `{`+secrets+`, "verbs": ["get", "list"], "resourceNames": ["tls"]}`), "read by name"},
		{"pods", "roles", "redoubt-gateway", role("redoubt-gateway", `{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["tls"]}`), "read by name"},
		{"another role", "roles", "other", role("other", `{`+secrets+`, "verbs": ["get"], "resourceNames": ["tls"]}`), "cannot patch"},
		{"the gateway", "rolebindings", "redoubt-gateway", bind("redoubt-gateway", "Role", "redoubt-gateway", gateway), ""},
		{"themselves", "rolebindings", "redoubt-gateway", bind("redoubt-gateway", "Role", "redoubt-gateway", controller), "the gateway alone"},
		{"the tenant's group", "rolebindings", "redoubt-tenant", bind("redoubt-tenant", "ClusterRole", "redoubt:tenant", `"kind": "Group", "name": "redoubt:tenant:`+name+`"`), ""},
		{"another tenant's", "rolebindings", "redoubt-tenant", bind("redoubt-tenant", "ClusterRole", "redoubt:tenant", `"kind": "Group", "name": "redoubt:tenant:`+name+`x"`), "that tenant's groups alone"},
		{"themselves as a tenant", "rolebindings", "redoubt-tenant", bind("redoubt-tenant", "ClusterRole", "redoubt:tenant", controller), "that tenant's groups alone"},
		{"another role's users", "rolebindings", "redoubt-gateway", bind("redoubt-gateway", "ClusterRole", "admin", gateway), "attempting to grant"},
	} {
		force := true
		how := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "redoubt-test", Force: &force}
		err := asController.RbacV1().RESTClient().Patch(types.ApplyPatchType).Namespace(name).Resource(test.resource).Name(test.object).
			VersionedParams(&how, metav1.ParameterCodec).Body([]byte(test.manifest)).Do(t.Context()).Error()
		if test.refusal == "" && err != nil {
			t.Errorf("%s: %v", test.what, err)
		}
		if test.refusal != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.refusal)) {
			t.Errorf("%s: %v, want it forbidden with %q", test.what, err, test.refusal)
		}
		if err := asAdministrator.RbacV1().RESTClient().Patch(types.ApplyPatchType).Namespace(name).Resource(test.resource).Name(test.object).
			VersionedParams(&how, metav1.ParameterCodec).Body([]byte(test.manifest)).Do(t.Context()).Error(); err != nil {
			t.Errorf("%s, as an administrator: %v", test.what, err)
		}
	}
}

// TestControllersRemoveSourcesAlone is what of ConfigMaps the controllers' own user
// may remove: old sources of functions. It may see none.
func TestControllersRemoveSourcesAlone(t *testing.T) {
	ns := namespace(t)
	for name, label := range map[string]string{"mine": "redoubt.dev/source-of=f", "source": kubeless.SourceLabel + "=1"} {
		shared.Kubectl(t, "-n", ns, "create", "configmap", name)
		shared.Kubectl(t, "-n", ns, "label", "configmap", name, label)
	}
	maps := clientAs(t, "redoubt:controller").CoreV1().ConfigMaps(ns)
	if _, err := maps.List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing: %v", err)
	}
	if err := maps.Delete(t.Context(), "source", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("deleting by name: %v", err)
	}
	dry := metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
	if err := maps.DeleteCollection(t.Context(), dry, metav1.ListOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "sources of functions only") {
		t.Errorf("deleting all: %v", err)
	}
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: kubeless.SourceLabel}); err != nil {
		t.Error(err)
	}
	if left := shared.Kubectl(t, "-n", ns, "get", "configmaps", "-o", "name"); strings.Contains(left, "/source") || !strings.Contains(left, "/mine") {
		t.Errorf("there are left: %s", left)
	}
}
