package test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/test/platform"
)

// check is one of the multi-tenancy benchmark of Kubernetes' working group
// (kubectl-mtb), by its name there.
type check struct {
	name string
	// try does in a namespace what the benchmark says must be refused; nothing
	// that it makes stays.
	try func(t *testing.T, c kubernetes.Interface, ns string) error
	// ownKernel lets it pass where the tenant's pods do not share the node's
	// kernel: there it concerns nobody but the pod.
	ownKernel bool
}

var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// pod tries a pod that is within every bound, but for one change.
func pod(change func(*corev1.PodSpec)) func(*testing.T, kubernetes.Interface, string) error {
	return func(t *testing.T, c kubernetes.Interface, ns string) error {
		p := plain()
		p.Spec.RuntimeClassName = nil // the tenant's default
		change(&p.Spec)
		_, err := c.CoreV1().Pods(ns).Create(t.Context(), p, dryRun)
		return err
	}
}

// container is the same for the pod's container.
func container(change func(*corev1.SecurityContext)) func(*testing.T, kubernetes.Interface, string) error {
	return pod(func(spec *corev1.PodSpec) { change(spec.Containers[0].SecurityContext) })
}

// nodesUser is the same for who runs, with the users of the node: those of its
// own, which a pod gets otherwise where the node can, Kubernetes lets be root.
func nodesUser(nonRoot *bool, id *int64) func(*testing.T, kubernetes.Interface, string) error {
	return pod(func(spec *corev1.PodSpec) {
		spec.HostUsers = &yes
		spec.Containers[0].SecurityContext.RunAsNonRoot, spec.Containers[0].SecurityContext.RunAsUser = nonRoot, id
	})
}

// rights asks for each of them; the error names those that are not given.
func rights(in string, verbs []string, resources ...string) func(*testing.T, kubernetes.Interface, string) error {
	return func(t *testing.T, c kubernetes.Interface, ns string) error {
		given := 0
		for _, resource := range resources {
			for _, verb := range verbs {
				if may(t, c, right{verb, resource}.in(strings.ReplaceAll(in, "NS", ns))) {
					given++
				}
			}
		}
		if given == len(verbs)*len(resources) {
			return nil
		}
		if given == 0 {
			return fmt.Errorf("none of %v is given for %v: %w", verbs, resources, errDenied)
		}
		return fmt.Errorf("%d of %d rights are given", given, len(verbs)*len(resources))
	}
}

var errDenied = errors.New("denied")

var (
	changing = []string{"create", "update", "patch", "delete", "deletecollection"}
	anything = append([]string{"get", "list", "watch"}, changing...)
	yes, no  = true, false
	root     = int64(0)
)

var benchmark = []check{
	{name: "Block access to cluster resources", try: rights("", anything, "nodes", "namespaces", "persistentvolumes", "rbac.authorization.k8s.io/clusterroles",
		"rbac.authorization.k8s.io/clusterrolebindings", "storage.k8s.io/storageclasses", "scheduling.k8s.io/priorityclasses",
		"apiextensions.k8s.io/customresourcedefinitions", "certificates.k8s.io/certificatesigningrequests",
		"admissionregistration.k8s.io/validatingadmissionpolicies", "redoubt.dev/tenants")},
	// The one kind of the cluster's that tenants must see to choose from it.
	{name: "Block access to cluster resources: classes", try: rights("", changing, "node.k8s.io/runtimeclasses")},
	{name: "Block Multitenant Resources", try: func(t *testing.T, c kubernetes.Interface, ns string) error {
		mark := []byte(`{"metadata":{"annotations":{"key1":"value1"}}}`)
		options := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}
		_, binding := c.RbacV1().RoleBindings(ns).Patch(t.Context(), "redoubt-tenant", "application/merge-patch+json", mark, options)
		_, limits := c.CoreV1().LimitRanges(ns).Patch(t.Context(), "redoubt-tenant", "application/merge-patch+json", mark, options)
		if binding == nil || limits == nil {
			return errors.Join(binding, limits)
		}
		return binding
	}},
	{name: "Block add capabilities", try: container(func(c *corev1.SecurityContext) { c.Capabilities.Add = []corev1.Capability{"NET_ADMIN"} })},
	{name: "Require run as non-root user: silent", ownKernel: true, try: nodesUser(nil, nil)},
	{name: "Require run as non-root user: root", ownKernel: true, try: nodesUser(&no, &root)},
	{name: "Block privileged containers", try: container(func(c *corev1.SecurityContext) { c.Privileged, c.AllowPrivilegeEscalation = &yes, nil })},
	{name: "Block privilege escalation", ownKernel: true, try: container(func(c *corev1.SecurityContext) { c.AllowPrivilegeEscalation = &yes })},
	{name: "Block role privilege escalation", try: rights("NS", []string{"escalate", "bind"}, "rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/clusterroles")},
	{name: "Block modification of resource quotas", try: rights("NS", changing, "resourcequotas")},
	{name: "Block access to other tenant resources", try: rights("other-NS", anything, "pods", "services", "secrets", "configmaps", "apps/deployments",
		"batch/jobs", "networking.k8s.io/networkpolicies", "rbac.authorization.k8s.io/rolebindings", "serving.knative.dev/services", "kubeless.io/functions")},
	{name: "Block use of host path volumes", try: pod(func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
	})},
	{name: "Block use of host networking and ports: network", try: pod(func(s *corev1.PodSpec) { s.HostNetwork = true })},
	{name: "Block use of host networking and ports: ports", try: pod(func(s *corev1.PodSpec) {
		s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080}}
	})},
	{name: "Block use of host PID", try: pod(func(s *corev1.PodSpec) { s.HostPID = true })},
	{name: "Block use of host IPC", try: pod(func(s *corev1.PodSpec) { s.HostIPC = true })},
	{name: "Block use of NodePort services", try: exposed(corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort})},
	// What the benchmark has not, of the same kind.
	{name: "balancers take ports of the nodes", try: exposed(corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})},
	{name: "services take others' addresses", try: exposed(corev1.ServiceSpec{ExternalIPs: []string{"192.0.2.1"}})},
	{name: "pods go before what keeps the cluster going", try: pod(func(s *corev1.PodSpec) { s.PriorityClassName = "system-node-critical" })},
	{name: "nodes' seccomp profile is left out", try: container(func(c *corev1.SecurityContext) {
		c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	})},
	{name: "/proc is unmasked", try: container(func(c *corev1.SecurityContext) {
		unmasked := corev1.UnmaskedProcMount
		c.ProcMount = &unmasked
	})},
	{name: "kernel settings are changed", try: pod(func(s *corev1.PodSpec) {
		s.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "65536"}}}
	})},
}

func exposed(spec corev1.ServiceSpec) func(*testing.T, kubernetes.Interface, string) error {
	spec.Ports = []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}
	return func(t *testing.T, c kubernetes.Interface, ns string) error {
		_, err := c.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{GenerateName: "s-"}, Spec: spec}, dryRun)
		return err
	}
}

// TestTenancyBenchmark tries each check as a tenant's user, at the floors
// "process" and "kernel", and as the control as the owner in a namespace that
// is nobody's: there each must pass. What a tenant's user needs for himself
// must pass for him too.
func TestTenancyBenchmark(t *testing.T) {
	pods := int64(5)
	quota := redoubt.TenantQuota{CPU: quantity("4"), Memory: quantity("4Gi"), Pods: &pods}
	weak := namespace(t)
	shared.Apply(t, fmt.Sprintf(`
{apiVersion: v1, kind: List, items: [
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: redoubt-tenant, namespace: %[1]s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}},
{apiVersion: v1, kind: LimitRange, metadata: {name: redoubt-tenant, namespace: %[1]s}, spec: {limits: [{type: Container, default: {cpu: "1", memory: 64Mi}}]}}]}`, weak))
	for _, c := range benchmark {
		if err := c.try(t, shared.Cluster, weak); err != nil {
			t.Errorf("%s: the owner cannot do it in a namespace that is nobody's, so it proves nothing: %v", c.name, err)
		}
	}
	for floor, class := range map[string]string{"process": "runc", "kernel": "gvisor"} {
		t.Run(floor, func(t *testing.T) {
			name := "tenancy-" + floor
			newTenant(t, name, redoubt.TenantSpec{Floor: floor, DefaultClass: class, Quota: quota})
			alice := newUser(t, name)
			if err := pod(func(*corev1.PodSpec) {})(t, alice.cluster, name); err != nil {
				t.Fatalf("a pod within every bound: %v", err)
			}
			for _, c := range benchmark {
				err := c.try(t, alice.cluster, name)
				refused := apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || errors.Is(err, errDenied)
				if c.ownKernel && floor != "process" {
					refused = err == nil
				}
				if !refused {
					t.Errorf("%s: %v", c.name, err)
				}
			}
			t.Run("bounds", func(t *testing.T) { bounded(t, alice, name) })
		})
	}
}

// bounded has the benchmark's checks of what a namespace must have.
func bounded(t *testing.T, u user, ns string) {
	// Configure namespace resource quotas, and object limits.
	quota, err := u.cluster.CoreV1().ResourceQuotas(ns).Get(t.Context(), "redoubt-tenant", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourcePods} {
		if _, ok := quota.Spec.Hard[name]; !ok {
			t.Errorf("%s is not bounded: %v", name, quota.Spec.Hard)
		}
	}
	// Create Network Policies.
	if err := rights("NS", anything, "networking.k8s.io/networkpolicies")(t, u.cluster, ns); err != nil {
		t.Errorf("network policies of one's own: %v", err)
	}
	// Create Role Bindings: the one check that is not met, on purpose.
	if err := rights("NS", changing, "rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings")(t, u.cluster, ns); !errors.Is(err, errDenied) {
		t.Errorf("a tenant gives rights itself: %v", err)
	}
	account, err := u.cluster.CoreV1().ServiceAccounts(ns).Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		t.Errorf("pods get tokens unasked: %+v (%v)", account.AutomountServiceAccountToken, err)
	}
}

// TestTenantsRun runs a service and a function as a tenant's user, with the
// floor "kernel": both answer, in the tenant's default class.
func TestTenantsRun(t *testing.T) {
	const name = "tenant-runs"
	pods := int64(10)
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor", Quota: redoubt.TenantQuota{CPU: quantity("8"), Memory: quantity("4Gi"), Pods: &pods}})
	alice := newUser(t, name)
	shell(t)
	shared.Redoubt(t, "function", "prepare", "python3") // images are the node's, not a tenant's, to make
	for _, test := range []struct {
		deploy, ask []string
		want        string
	}{
		{append([]string{"service", "create", "hello", "--env=ANSWER=acme"}, web...), nil, "acme"},
		{[]string{"function", "deploy", "greet", "--runtime=python3", "--handler=app.greet", "--from-file=" + source(t, functionSources["python3"].first)},
			[]string{"function", "call", "greet", "-d", "acme"}, "Hello acme"},
	} {
		if out, err := alice.redoubt(t, test.deploy...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var out string
		var err error
		if test.ask != nil {
			out, err = alice.redoubt(t, test.ask...)
		} else {
			out, err = visit(t, "hello."+name+".localhost")
		}
		if err != nil || strings.TrimSpace(out) != test.want {
			t.Errorf("%v answers %q (%v)", test.deploy[:3], out, err)
		}
		low := append(slices.Clone(test.deploy), "--runtime-class=runc")
		low[2] = "low"
		if _, err := alice.redoubt(t, low...); err == nil || !strings.Contains(err.Error(), `below the floor "kernel"`) {
			t.Errorf("%v: %v", low[:3], err)
		}
	}
	limited(t, name, "hello."+name+".localhost")
	list, err := alice.cluster.CoreV1().Pods(name).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) < 2 {
		t.Fatalf("%d pods (%v)", len(list.Items), err)
	}
	for _, p := range list.Items {
		if p.Spec.RuntimeClassName == nil || *p.Spec.RuntimeClassName != "gvisor" {
			t.Errorf("pod %s runs in %v", p.Name, p.Spec.RuntimeClassName)
		}
		for _, s := range sandboxes(t, of(&p)) {
			if s.RuntimeHandler != "gvisor" {
				t.Errorf("the sandbox of %s has the handler %q", p.Name, s.RuntimeHandler)
			}
		}
	}
}

// limited bounds the requests to a tenant's services, and takes the bound away.
func limited(t *testing.T, tenant, host string) {
	t.Helper()
	for _, step := range []struct{ limit, want string }{{"1", "429"}, {"", ""}} {
		shared.Redoubt(t, "tenant", "update", tenant, "--requests-per-second="+step.limit)
		platform.Eventually(t, "the limit "+step.limit+" holds", func() error {
			var failed error
			for range 5 {
				if _, err := visit(t, host); err != nil {
					failed = err
				}
			}
			if (failed == nil) != (step.want == "") || failed != nil && !strings.Contains(failed.Error(), step.want) {
				return fmt.Errorf("five requests end with %v", failed)
			}
			return nil
		})
	}
}
