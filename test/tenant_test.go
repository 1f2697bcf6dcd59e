package test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/sandbox"
	"redoubt.dev/redoubt/test/platform"
)

// config is how to reach the API server as the platform's owner.
func config(t *testing.T) *rest.Config {
	t.Helper()
	cfg, err := kube.Config(shared.Inst.Kubeconfig(), "redoubt-test")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func tenants(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := redoubt.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newTenant makes a tenant with one namespace, which has the tenant's name,
// and waits until the namespace knows what is open to it.
func newTenant(t *testing.T, name string, spec redoubt.TenantSpec) {
	t.Helper()
	c := tenants(t)
	tenant := &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	if err := c.Create(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{redoubt.TenantLabel: name}}}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		err := shared.Cluster.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		platform.Eventually(t, "tenant is deleted", func() error { return client.IgnoreNotFound(c.Delete(ctx, tenant)) })
	})
	if _, err := shared.Cluster.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	settled(t, name)
}

// settled waits until what the tenant's specification means is in force, and
// returns the tenant.
func settled(t *testing.T, name string) *redoubt.Tenant {
	t.Helper()
	c, tenant := tenants(t), &redoubt.Tenant{}
	platform.Eventually(t, "tenant "+name+" is settled", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Name: name}, tenant); err != nil {
			return err
		}
		if tenant.Status.ObservedGeneration != tenant.Generation || !slices.Contains(tenant.Status.Namespaces, name) {
			return fmt.Errorf("its status is %+v", tenant.Status)
		}
		// Until the quota counts what it bounds, that is refused; right after a
		// first boot it takes half a minute.
		quota, err := shared.Cluster.CoreV1().ResourceQuotas(name).Get(t.Context(), "redoubt-tenant", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for kind := range quota.Spec.Hard {
			if _, counted := quota.Status.Used[kind]; !counted {
				return fmt.Errorf("its %s are not counted", kind)
			}
		}
		_, err = shared.Cluster.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return tenant
}

// makers are the kinds that make pods, each with the path of its pod's
// specification and what else it must have.
var makers = []struct {
	kind     schema.GroupVersionKind
	resource string
	path     string
	fields   map[string]any
}{
	{corev1.SchemeGroupVersion.WithKind("Pod"), "pods", "spec", nil},
	{corev1.SchemeGroupVersion.WithKind("PodTemplate"), "podtemplates", "template.spec", nil},
	{corev1.SchemeGroupVersion.WithKind("ReplicationController"), "replicationcontrollers", "spec.template.spec", map[string]any{"selector": map[string]any{"app": "a"}}},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, "deployments", "spec.template.spec", selectsPods},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}, "replicasets", "spec.template.spec", selectsPods},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"}, "statefulsets", "spec.template.spec", selectsPods},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"}, "daemonsets", "spec.template.spec", selectsPods},
	{schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, "jobs", "spec.template.spec", nil},
	{schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "CronJob"}, "cronjobs", "spec.jobTemplate.spec.template.spec", map[string]any{"schedule": "0 0 1 1 *"}},
	{schema.GroupVersionKind{Group: "serving.knative.dev", Version: "v1", Kind: "Service"}, "services", "spec.template.spec", nil},
	{schema.GroupVersionKind{Group: "serving.knative.dev", Version: "v1", Kind: "Configuration"}, "configurations", "spec.template.spec", nil},
	{schema.GroupVersionKind{Group: "serving.knative.dev", Version: "v1", Kind: "Revision"}, "revisions", "spec", nil},
	{schema.GroupVersionKind{Group: "kubeless.io", Version: "v1beta1", Kind: "Function"}, "functions", "spec", map[string]any{"runtime": "python3", "handler": "a.f", "function": "def f(): pass"}},
}

var selectsPods = map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "a"}}}

// maker is an object of the i-th kind whose pods name the class.
func maker(i int, name, class string) *unstructured.Unstructured {
	m := makers[i]
	o := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": name}}}
	o.SetGroupVersionKind(m.kind)
	for key, value := range m.fields {
		_ = unstructured.SetNestedField(o.Object, runtime.DeepCopyJSONValue(value), "spec", key)
	}
	spec := map[string]any{}
	if m.kind.Kind != "Function" {
		// What the Pod Security level "restricted" asks for.
		spec["securityContext"] = map[string]any{"runAsNonRoot": true, "runAsUser": int64(1000), "seccompProfile": map[string]any{"type": "RuntimeDefault"}}
		spec["containers"] = []any{map[string]any{"name": "c", "image": "localhost/redoubt/pause:latest", "securityContext": map[string]any{
			"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}}}}
	}
	switch m.kind.Kind {
	case "Job", "CronJob":
		spec["restartPolicy"] = "Never"
	case "Service", "Configuration", "Revision":
		delete(spec, "securityContext")
		spec["containers"].([]any)[0].(map[string]any)["securityContext"] = map[string]any{
			"runAsNonRoot": true, "runAsUser": int64(1000), "allowPrivilegeEscalation": false,
			"seccompProfile": map[string]any{"type": "RuntimeDefault"}, "capabilities": map[string]any{"drop": []any{"ALL"}}}
	}
	if class != "" {
		spec["runtimeClassName"] = class
	}
	path := strings.Split(m.path, ".")
	for key, value := range spec {
		_ = unstructured.SetNestedField(o.Object, value, append(slices.Clone(path), key)...)
	}
	if n := len(path); n > 1 {
		_ = unstructured.SetNestedField(o.Object, "a", append(slices.Clone(path[:n-1]), "metadata", "labels", "app")...)
	}
	return o
}

// TestTenantsClasses tries each kind that makes pods, with each class and
// without one, at each floor.
func TestTenantsClasses(t *testing.T) {
	dyn, err := dynamic.NewForConfig(config(t))
	if err != nil {
		t.Fatal(err)
	}
	class, err := shared.Cluster.NodeV1().RuntimeClasses().Get(t.Context(), "microvm", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	emulated := class.Labels[sandbox.IsolationLabel] == string(sandbox.EmulatedVM)
	t.Logf("the machines of this node are emulated: %t", emulated)
	machine := `is emulated, which does not satisfy the floor`
	if !emulated {
		machine = ""
	}
	const process, kernel, none = `isolates as "process", below the floor`, `isolates as "kernel", below the floor`, "does not exist"
	for _, test := range []struct {
		name    string
		spec    redoubt.TenantSpec
		refused map[string]string // class: reason; empty: none
	}{
		{"process", redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"}, map[string]string{"nosuch": none}},
		{"kernel", redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"}, map[string]string{"runc": process, "microvm": machine, "nosuch": none}},
		{"only", redoubt.TenantSpec{Floor: "process", Classes: []string{"gvisor"}, DefaultClass: "gvisor"}, map[string]string{
			"runc": "is not among the tenant's classes", "microvm": "is not among the tenant's classes", "nosuch": none}},
		{"nodefault", redoubt.TenantSpec{Floor: "kernel"}, map[string]string{"": "names no class", "runc": process, "microvm": machine, "nosuch": none}},
		{"emulated", redoubt.TenantSpec{Floor: "vm", AllowEmulatedVM: true, DefaultClass: "microvm"}, map[string]string{"runc": process, "gvisor": kernel, "nosuch": none}},
		{"vm", redoubt.TenantSpec{Floor: "vm"}, map[string]string{"": "names no class", "runc": process, "gvisor": kernel, "microvm": machine, "nosuch": none}},
	} {
		name := "tenant-" + test.name
		newTenant(t, name, test.spec)
		for i, m := range makers {
			for _, class := range []string{"", "runc", "gvisor", "microvm", "nosuch"} {
				t.Run(fmt.Sprintf("%s %s %s", test.name, m.kind.Kind, class), func(t *testing.T) {
					made, err := dyn.Resource(m.kind.GroupVersion().WithResource(m.resource)).Namespace(name).Create(t.Context(), maker(i, "a", class),
						metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
					if m.kind.Kind == "Pod" && class == "nosuch" {
						// Kubernetes' own plugin comes first here.
						if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `RuntimeClass "nosuch" not found`) {
							t.Errorf("answered %v", err)
						}
						return
					}
					judge(t, err, m.path+".runtimeClassName", test.refused[class])
					if err != nil || m.kind.Kind != "Pod" || class != "" {
						return
					}
					if got, _, _ := unstructured.NestedString(made.Object, "spec", "runtimeClassName"); got != test.spec.DefaultClass {
						t.Errorf("a pod without a class gets %q, want %q", got, test.spec.DefaultClass)
					}
					if overhead, ok, _ := unstructured.NestedMap(made.Object, "spec", "overhead"); !ok {
						t.Errorf("a pod that got its class by default has the overhead %v", overhead)
					}
				})
			}
		}
	}
}

// judge checks a refusal: nothing where reason is empty, otherwise a sentence
// with the field, the reason and what to do.
func judge(t *testing.T, err error, field, reason string) {
	t.Helper()
	switch {
	case reason == "" && err != nil:
		t.Errorf("refused: %v", err)
	case reason != "" && err == nil:
		t.Errorf("accepted, want %q", reason)
	case reason != "":
		for _, part := range []string{field, reason, "use one of: "} {
			if !strings.Contains(err.Error(), part) && !(part == "use one of: " && strings.Contains(err.Error(), "no class is open")) {
				t.Errorf("answered %q, want %q in it", err, part)
			}
		}
	}
}

// TestTenantFailsClosed looks at namespaces of which nobody has said yet what
// their tenant may run, and at tenants that change.
func TestTenantFailsClosed(t *testing.T) {
	ns := namespace(t)
	change := func(patch string) error {
		_, err := shared.Cluster.CoreV1().Namespaces().Patch(t.Context(), ns, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
		return err
	}
	if err := change(`{"metadata":{"labels":{"redoubt.dev/tenant":"nobody"}}}`); err != nil {
		t.Fatal(err)
	}
	_, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), idle("gvisor"), metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `what the tenant "nobody" may run is not known`) {
		t.Errorf("a pod of a tenant that is not known: %v", err)
	}
	if err := change(`{"metadata":{"annotations":{"tenant.redoubt.dev/resolved":"nobody"}}}`); !apierrors.IsForbidden(err) {
		t.Errorf("somebody else writes what the controller writes: %v", err)
	}
	if err := change(`{"metadata":{"labels":{"redoubt.dev/tenant":null}}}`); err != nil {
		t.Fatal(err)
	}
	create(t, ns, idle("gvisor")) // the control: without the label it is let in
}

// TestTenantIsRaised edits a floor while pods are created: once the change has
// settled, no pod below it is let in, and one that is there keeps its class.
func TestTenantIsRaised(t *testing.T) {
	const name = "tenant-raised"
	newTenant(t, name, redoubt.TenantSpec{Floor: "process"})
	c := tenants(t)
	var accepted int
	for i := range 40 {
		_, err := shared.Cluster.CoreV1().Pods(name).Create(t.Context(), plain(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			accepted++
		}
		if i == 20 {
			tenant := settled(t, name)
			tenant.Spec.Floor = "kernel"
			if err := c.Update(t.Context(), tenant); err != nil {
				t.Fatal(err)
			}
			if settled(t, name).Status.OpenClasses == nil {
				t.Fatal("no class is open at the floor kernel")
			}
			accepted = 0
			platform.Eventually(t, "the floor is in force", func() error {
				_, err := shared.Cluster.CoreV1().Pods(name).Create(t.Context(), plain(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				if err == nil {
					return fmt.Errorf("a pod below it is let in")
				}
				return nil
			})
		}
	}
	if accepted > 0 {
		t.Errorf("%d pods below the floor were let in", accepted)
	}
}

func quantity(text string) *resource.Quantity {
	q := resource.MustParse(text)
	return &q
}

// plain is a pod of plain containers that the Pod Security level "restricted"
// lets in.
func plain() *corev1.Pod {
	pod, yes, no := idle("runc"), true, false
	user := int64(1000)
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &user, AllowPrivilegeEscalation: &no,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	return pod
}

// TestTenantsOwnNothing is what somebody with every right in a tenant's
// namespace, and on namespaces, still cannot do.
func TestTenantsOwnNothing(t *testing.T) {
	const name = "tenant-owned"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	shared.Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: test-namespaces}
rules:
- {apiGroups: [""], resources: [namespaces, namespaces/status, namespaces/finalize, pods], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-namespaces}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: test-namespaces}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}]
`)
	t.Cleanup(func() {
		_ = shared.Command(context.WithoutCancel(t.Context()), "kubectl", "delete", "clusterrole,clusterrolebinding", "test-namespaces").Run()
	})
	cfg := config(t)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "mallory"}
	mallory, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	namespaces := mallory.Resource(corev1.SchemeGroupVersion.WithResource("namespaces"))
	patch := func(body string, sub ...string) error {
		_, err := namespaces.Patch(t.Context(), name, "application/merge-patch+json", []byte(body), metav1.PatchOptions{}, sub...)
		return err
	}
	if err := patch(`{"metadata":{"labels":{"color":"blue"}}}`); err != nil {
		t.Fatalf("the control, a label that is no tenant's: %v", err)
	}
	for _, body := range []string{
		`{"metadata":{"labels":{"redoubt.dev/tenant":null}}}`,
		`{"metadata":{"labels":{"redoubt.dev/tenant":"other"}}}`,
		`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`,
		`{"metadata":{"annotations":{"tenant.redoubt.dev/open-classes":"runc"}}}`,
		`{"metadata":{"annotations":{"tenant.redoubt.dev/resolved":null}}}`,
	} {
		for _, sub := range [][]string{nil, {"status"}} {
			if err := patch(body, sub...); !apierrors.IsForbidden(err) {
				t.Errorf("%s%v: %v, want it forbidden", body, sub, err)
			}
		}
	}
	made := create(t, name, idle("gvisor"))
	_, err = shared.Cluster.CoreV1().Pods(name).Patch(t.Context(), made.Name, "application/merge-patch+json", []byte(`{"spec":{"runtimeClassName":"runc"}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		t.Errorf("a pod's class is changed: %v", err)
	}
	_, err = shared.Cluster.CoreV1().Pods(name).Patch(t.Context(), made.Name, "application/strategic-merge-patch+json",
		[]byte(`{"spec":{"runtimeClassName":"runc","ephemeralContainers":[{"name":"e","image":"localhost/redoubt/pause:latest"}]}}`), metav1.PatchOptions{}, "ephemeralcontainers")
	now, getErr := shared.Cluster.CoreV1().Pods(name).Get(t.Context(), made.Name, metav1.GetOptions{})
	if getErr != nil || *now.Spec.RuntimeClassName != "gvisor" {
		t.Errorf("with an ephemeral container a pod's class becomes %v (%v, %v)", now.Spec.RuntimeClassName, err, getErr)
	}
	host := idle("gvisor")
	host.Spec.HostNetwork = true
	mustForbid(t, name, host, "baseline")
}

// TestClusterIsNobodysTenant gives a tenant the namespaces of the cluster
// itself, which not even the administrator can, and one like them, which he can.
func TestClusterIsNobodysTenant(t *testing.T) {
	give := func(name string) error {
		_, err := shared.Cluster.CoreV1().Namespaces().Patch(t.Context(), name, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"redoubt.dev/tenant":"nobody"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease", "redoubt-system"} {
		if err := give(name); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "namespace "+name+" is the cluster's own") {
			t.Errorf("%s: %v, want it forbidden", name, err)
		}
	}
	if err := give(namespace(t)); err != nil {
		t.Errorf("another namespace: %v", err)
	}
}

// TestTenantHasQuota counts overhead, gives limits to those who have none, and
// says what is used.
func TestTenantHasQuota(t *testing.T) {
	const name = "tenant-quota"
	pods := int64(1)
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor", Quota: redoubt.TenantQuota{Pods: &pods, Memory: quantity("400Mi"), CPU: quantity("2")}})
	create(t, name, idle(""))
	mustForbid(t, name, idle(""), "exceeded quota", "pods")
	if out := shared.Kubectl(t, "-n", name, "get", "quota", "redoubt-tenant", "-o", `jsonpath={.spec.hard.count/invocations\.redoubt\.dev}`); out != "2k" {
		t.Errorf("it may have %q invocations", out)
	}
	platform.Eventually(t, "the tenant's use", func() error {
		used := settled(t, name).Status.Used
		if used.Pods == nil || *used.Pods != 1 || used.Memory == nil || used.Memory.String() != "304Mi" { // 256Mi and gVisor's 48Mi
			return fmt.Errorf("it is %+v", used)
		}
		return nil
	})
}

// TestTenantsServicesAreCounted has more services and functions than a tenant
// may, and as many as it may.
func TestTenantsServicesAreCounted(t *testing.T) {
	const name = "tenant-counted"
	one := int64(1)
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor", Quota: redoubt.TenantQuota{Services: &one, Functions: &one}})
	other := namespace(t)
	shared.Redoubt(t, "tenant", "update", name, "--namespaces="+other)
	// In this order: a function has a service, which counts as one.
	for _, counted := range []struct{ kind, manifest string }{
		{"services.serving.knative.dev", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: %s, namespace: %s}\nspec: {template: {spec: {containers: [{image: localhost/redoubt/pause:latest}]}}}\n"},
		{"functions.kubeless.io", "apiVersion: kubeless.io/v1beta1\nkind: Function\nmetadata: {name: %s, namespace: %s}\nspec: {runtime: python3, handler: a.f, function: 'def f(): pass'}\n"},
	} {
		kind, manifest := counted.kind, counted.manifest
		platform.Eventually(t, "the quota of "+kind+" counts", func() error {
			quota, err := shared.Cluster.CoreV1().ResourceQuotas(name).Get(t.Context(), "redoubt-tenant", metav1.GetOptions{})
			if err == nil && !quota.Status.Hard.Name(corev1.ResourceName("count/"+kind), resource.DecimalSI).Equal(resource.MustParse("1")) {
				err = fmt.Errorf("its status is %v", quota.Status)
			}
			return err
		})
		shared.Apply(t, fmt.Sprintf(manifest, "first", name))
		shared.Refuse(t, fmt.Sprintf(manifest, "second", name), "exceeded quota", "count/"+kind)
		platform.Eventually(t, "the other namespace has no room for "+kind, func() error {
			_, err := shared.Try(t, fmt.Sprintf(manifest, "second", other), "kubectl", "create", "--dry-run=server", "-f", "-")
			if err == nil || !all(err.Error(), "exceeded quota", "count/"+kind) {
				return fmt.Errorf("it answers %v", err)
			}
			return nil
		})
		shared.Kubectl(t, "-n", name, "delete", kind, "first")
		platform.Eventually(t, "the other namespace has room for "+kind, func() error {
			_, err := shared.Try(t, fmt.Sprintf(manifest, "second", other), "kubectl", "create", "-f", "-")
			return err
		})
	}
}

// TestTenantLosesNamespace takes a namespace away: what was the tenant's there
// goes, and nothing else.
func TestTenantLosesNamespace(t *testing.T) {
	const name = "tenant-loses"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", Quota: redoubt.TenantQuota{CPU: quantity("1")}})
	shared.Kubectl(t, "label", "namespace", name, "color=blue")
	shared.Redoubt(t, "tenant", "update", name, "--namespaces="+name+"-")
	platform.Eventually(t, "the namespace is free", func() error {
		ns, err := shared.Cluster.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		quotas, err := shared.Cluster.CoreV1().ResourceQuotas(name).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(quotas.Items) > 0 || ns.Annotations[redoubt.ResolvedAnnotation] != "" {
			return fmt.Errorf("it has %d quotas and the annotations %v", len(quotas.Items), ns.Annotations)
		}
		if ns.Labels["color"] != "blue" || ns.Labels["pod-security.kubernetes.io/enforce"] != "baseline" {
			t.Errorf("its labels are %v", ns.Labels)
		}
		return nil
	})
	create(t, name, idle("runc"))
}

// TestTenantWithNamespacesStays deletes a tenant whose namespaces would be
// nobody's.
func TestTenantWithNamespacesStays(t *testing.T) {
	const name = "tenant-stays"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel"})
	err := tenants(t).Delete(t.Context(), &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "still has namespaces: "+name) {
		t.Errorf("delete: %v", err)
	}
}

// TestTenantSpecIsChecked has what the schema refuses, and how.
func TestTenantSpecIsChecked(t *testing.T) {
	for _, test := range []struct{ manifest, want string }{
		{"metadata: {name: a}\nspec: {floor: fortress}", `Unsupported value: "fortress": supported values: "process", "kernel", "vm"`},
		{"metadata: {name: a}\nspec: {}", "spec.floor: Required value"},
		{"metadata: {name: a}\nspec: {floor: vm, classes: [gvisor], defaultClass: runc}", "defaultClass must be one of classes"},
		{"metadata: {name: a.b}\nspec: {floor: vm}", "metadata.name must be a DNS label"},
		{"metadata: {name: a}\nspec: {floor: vm, quota: {cpu: -1}}", "cpu must not be negative"},
		{"metadata: {name: a}\nspec: {floor: vm, quota: {pods: -1}}", "spec.quota.pods"},
		{"metadata: {name: a}\nspec: {floor: vm, flor: vm}", "unknown field"},
	} {
		_, err := shared.Try(t, "apiVersion: redoubt.dev/v1\nkind: Tenant\n"+test.manifest, "kubectl", "create", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: answered %v, want %q", test.manifest, err, test.want)
		}
	}
}

// TestClassesClaimNoMore makes classes that say more than their handler can.
func TestClassesClaimNoMore(t *testing.T) {
	for _, test := range []struct{ handler, isolation, want string }{
		{"runc", "kernel", "share the node's kernel"},
		{"runc", "vm", "share the node's kernel"},
		{"gvisor", "vm", "have no machine of their own"},
		{"kata", "fortress", "is not known"},
		{"kata", "vm", ""},
		{"gvisor", "process", ""},
	} {
		manifest := fmt.Sprintf("apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: claims, labels: {redoubt.dev/isolation: %s}}\nhandler: %s\n", test.isolation, test.handler)
		_, err := shared.Try(t, manifest, "kubectl", "create", "--dry-run=server", "-f", "-")
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("handler %s as %s: %v, want %q", test.handler, test.isolation, err, test.want)
		}
	}
}
