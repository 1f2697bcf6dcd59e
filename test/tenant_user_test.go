package test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/test/platform"
)

// user is one of a tenant's users, with his own kubeconfig.
type user struct {
	kubeconfig string
	cluster    kubernetes.Interface
}

// newUser is the tenant's alice.
func newUser(t *testing.T, tenant string) user { return newUserCalled(t, tenant, "alice") }

// newUserCalled asks for a kubeconfig as the platform's owner does, and waits
// until the tenant's namespace lets its user in.
func newUserCalled(t *testing.T, tenant, name string) user {
	t.Helper()
	u := user{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	shared.Redoubt(t, "tenant", "kubeconfig", tenant, "--user="+name, "--duration=10m", "-o", u.kubeconfig)
	cfg, err := kube.Config(u.kubeconfig, "redoubt-test")
	if err != nil {
		t.Fatal(err)
	}
	if u.cluster, err = kubernetes.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	platform.Eventually(t, "the user is let in", func() error {
		_, err := u.cluster.CoreV1().Pods(tenant).List(t.Context(), metav1.ListOptions{})
		return err
	})
	return u
}

// redoubt runs a command as the user.
func (u user) redoubt(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := shared.Command(t.Context(), append(args, "--kubeconfig="+u.kubeconfig)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// may asks the API server what somebody is allowed.
func may(t *testing.T, c kubernetes.Interface, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	answer, err := c.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// right is a verb on a resource: GROUP/RESOURCE[/SUBRESOURCE], without the
// group for the core one.
type right struct{ verb, resource string }

func (r right) in(namespace string) authorizationv1.ResourceAttributes {
	group, resource, grouped := strings.Cut(r.resource, "/")
	if !grouped || !strings.Contains(group, ".") && !slices.Contains([]string{"apps", "batch", "autoscaling", "policy"}, group) {
		group, resource = "", r.resource
	}
	resource, sub, _ := strings.Cut(resource, "/")
	return authorizationv1.ResourceAttributes{Namespace: namespace, Verb: r.verb, Group: group, Resource: resource, Subresource: sub}
}

// developers do these things in their namespace.
var developers = []right{
	{"create", "pods"}, {"delete", "pods"}, {"deletecollection", "pods"}, {"get", "pods/log"}, {"create", "pods/exec"}, {"create", "pods/attach"},
	{"create", "pods/portforward"}, {"create", "services"}, {"patch", "configmaps"}, {"get", "secrets"}, {"create", "persistentvolumeclaims"},
	{"create", "serviceaccounts"}, {"create", "apps/deployments"}, {"update", "apps/deployments/scale"}, {"create", "apps/statefulsets"}, {"create", "batch/jobs"},
	{"create", "batch/cronjobs"}, {"create", "autoscaling/horizontalpodautoscalers"}, {"create", "policy/poddisruptionbudgets"},
	{"create", "networking.k8s.io/networkpolicies"}, {"create", "serving.knative.dev/services"}, {"patch", "serving.knative.dev/routes"},
	{"create", "serving.knative.dev/domainmappings"}, {"delete", "serving.knative.dev/revisions"}, {"create", "kubeless.io/functions"},
	{"create", "kubeless.io/cronjobtriggers"}, {"create", "kubeless.io/httptriggers"}, {"create", "kubeless.io/httptriggers"}, {"list", "events"}, {"get", "resourcequotas"}, {"get", "limitranges"}, {"list", "discovery.k8s.io/endpointslices"},
}

// bounds are what the platform's owner keeps for himself, in the tenant's own
// namespace.
var bounds = []right{
	{"create", "resourcequotas"}, {"update", "resourcequotas"}, {"patch", "resourcequotas"}, {"delete", "resourcequotas"}, {"deletecollection", "resourcequotas"},
	{"create", "limitranges"}, {"patch", "limitranges"}, {"delete", "limitranges"},
	{"create", "rbac.authorization.k8s.io/roles"}, {"escalate", "rbac.authorization.k8s.io/roles"}, {"create", "rbac.authorization.k8s.io/rolebindings"},
	{"patch", "rbac.authorization.k8s.io/rolebindings"}, {"delete", "rbac.authorization.k8s.io/rolebindings"}, {"bind", "rbac.authorization.k8s.io/clusterroles"},
	{"patch", "namespaces"}, {"update", "namespaces"}, {"delete", "namespaces"}, {"update", "namespaces/finalize"}, {"update", "namespaces/status"},
	{"update", "pods/status"}, {"create", "pods/binding"}, {"create", "pods/proxy"}, {"create", "services/proxy"}, {"update", "services/status"},
	{"create", "endpoints"}, {"update", "endpoints"}, {"create", "discovery.k8s.io/endpointslices"}, {"patch", "discovery.k8s.io/endpointslices"},
	{"create", "serving.knative.dev/revisions"}, {"update", "serving.knative.dev/revisions/status"}, {"update", "kubeless.io/functions/status"},
	{"impersonate", "serviceaccounts"}, {"create", "serviceaccounts/token"},
}

// owners are what concerns the whole cluster.
var owners = []right{
	{"get", "redoubt.dev/tenants"}, {"list", "redoubt.dev/tenants"}, {"update", "redoubt.dev/tenants"}, {"create", "redoubt.dev/tenants"},
	{"list", "namespaces"}, {"create", "namespaces"}, {"list", "nodes"}, {"get", "nodes/proxy"}, {"list", "persistentvolumes"}, {"list", "pods"}, {"list", "secrets"},
	{"create", "node.k8s.io/runtimeclasses"}, {"patch", "node.k8s.io/runtimeclasses"}, {"delete", "node.k8s.io/runtimeclasses"},
	{"create", "rbac.authorization.k8s.io/clusterrolebindings"}, {"list", "rbac.authorization.k8s.io/clusterroles"},
	{"create", "certificates.k8s.io/certificatesigningrequests"}, {"impersonate", "users"}, {"impersonate", "groups"},
	{"patch", "admissionregistration.k8s.io/validatingadmissionpolicybindings"}, {"create", "apiextensions.k8s.io/customresourcedefinitions"},
}

// TestTenantsUser is what one of a tenant's users may do: what a developer
// does, in the tenant's namespaces, as long as they are the tenant's. The
// owner's own answers are the control: each question can be answered yes.
func TestTenantsUser(t *testing.T) {
	const name, rival = "tenant-user", "tenant-user-rival"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	newTenant(t, rival, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	alice := newUser(t, name)
	asked := func(rights []right, namespace string, want bool) {
		t.Helper()
		for _, r := range rights {
			if got := may(t, alice.cluster, r.in(namespace)); got != want {
				t.Errorf("%s %s in %q: allowed %t, want %t", r.verb, r.resource, namespace, got, want)
			}
			if !may(t, shared.Cluster, r.in(namespace)) {
				t.Errorf("the owner may not %s %s in %q: the question proves nothing", r.verb, r.resource, namespace)
			}
		}
	}
	asked(developers, name, true)
	asked(bounds, name, false)
	asked(owners, "", false)
	for _, elsewhere := range []string{rival, "default", "kube-system", "redoubt-system"} {
		asked(append(slices.Clone(developers), right{"get", "namespaces"}), elsewhere, false)
	}
	t.Run("works", func(t *testing.T) { alice.works(t, name) })
	t.Run("certificate", func(t *testing.T) { alice.isKnown(t, name) })
	t.Run("leaves", func(t *testing.T) { alice.leaves(t, name) })
	t.Run("revoked", func(t *testing.T) { alice.isRevoked(t, name, rival) })
}

// isRevoked takes the user's certificates back, before they end, and then those of
// all. What is made next is good, as are others', another tenant's, and those whom
// an identity provider names.
func (u user) isRevoked(t *testing.T, tenant, rival string) {
	again, bob, other := newUser(t, tenant), newUserCalled(t, tenant, "bob"), newUser(t, rival)
	somebody := user{cluster: inGroup(t, redoubt.TenantGroup(tenant))}
	good := func(want bool, namespace string, users map[string]user) {
		t.Helper()
		for who, v := range users {
			platform.Eventually(t, who+"'s rights follow", func() error {
				for _, r := range []right{{"list", "pods"}, {"get", "secrets"}, {"create", "serving.knative.dev/services"}} {
					if got := may(t, v.cluster, r.in(namespace)); got != want {
						return fmt.Errorf("%s %s: allowed %t, want %t", r.verb, r.resource, got, want)
					}
				}
				return nil
			})
		}
	}
	good(true, tenant, map[string]user{"alice": u, "alice's second": again, "bob": bob, "somebody": somebody})
	shared.Redoubt(t, "tenant", "kubeconfig", tenant, "--user=alice", "--revoke")
	good(false, tenant, map[string]user{"alice": u, "alice's second": again})
	good(true, tenant, map[string]user{"bob": bob, "somebody": somebody})
	next := newUser(t, tenant)
	good(true, tenant, map[string]user{"alice's next": next})
	good(false, tenant, map[string]user{"alice": u, "alice's second": again})
	shared.Redoubt(t, "tenant", "kubeconfig", tenant, "--revoke")
	good(false, tenant, map[string]user{"alice": u, "alice's next": next, "bob": bob})
	good(true, tenant, map[string]user{"somebody": somebody})
	good(true, rival, map[string]user{"another tenant's alice": other})
	if out, err := shared.Try(t, "", "tenant", "kubeconfig", tenant, "--user=bob", "--revoke"); err == nil || !strings.Contains(err.Error()+out, "has no kubeconfig") {
		t.Errorf("what is not there is revoked: %v %s", err, out)
	}
}

// inGroup is somebody of a group.
func inGroup(t *testing.T, group string) kubernetes.Interface {
	t.Helper()
	cfg := config(t)
	cfg.Impersonate.UserName, cfg.Impersonate.Groups = "somebody", []string{group, "system:authenticated"}
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// works runs a pod and talks to it, with the program and kubectl.
func (u user) works(t *testing.T, ns string) {
	pod := shellPod(shell(t), "")
	pod.Spec.RuntimeClassName = nil
	pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "echo hello; exec sleep 3600"}
	pod, err := u.cluster.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	running(t, pod)
	for _, args := range [][]string{{"logs", pod.Name}, {"exec", pod.Name, "--", "echo", "hello"}} {
		if out := shared.Kubectl(t, append([]string{"--kubeconfig=" + u.kubeconfig}, args...)...); strings.TrimSpace(out) != "hello" {
			t.Errorf("kubectl %v: %q", args, out)
		}
	}
	out, err := u.redoubt(t, "runtimeclass", "list")
	if err != nil || !all(out, "<hidden>", "yes, the default", `below the floor "kernel"`) {
		t.Errorf("runtimeclass list: %v\n%s", err, out)
	}
	if out, err := u.redoubt(t, "service", "list"); err != nil {
		t.Errorf("service list: %v\n%s", err, out)
	}
	if out, err := u.redoubt(t, "tenant", "update", ns, "--floor=process"); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("the tenant's user changes its floor: %v\n%s", err, out)
	}
	_, err = u.cluster.CoreV1().Pods(ns).Create(t.Context(), plain(), metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "below the floor") {
		t.Errorf("a pod below the floor: %v", err)
	}
}

// isKnown looks at the certificate: who it is for, until when, and that the
// file is nobody else's to read.
func (u user) isKnown(t *testing.T, tenant string) {
	info, err := os.Stat(u.kubeconfig)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig is %v (%v)", info.Mode(), err)
	}
	cfg, err := clientcmd.LoadFromFile(u.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if ns := cfg.Contexts[cfg.CurrentContext].Namespace; ns != tenant {
		t.Errorf("the kubeconfig's namespace is %q", ns)
	}
	block, _ := pem.Decode(cfg.AuthInfos[cfg.CurrentContext].ClientCertificateData)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if s := certificate.Subject; s.CommonName != "redoubt:tenant:"+tenant+":alice" || !slices.Contains(s.Organization, redoubt.CertificateGroup(tenant, settled(t, tenant).Spec.Credentials[0])) || len(s.Organization) != 2 {
		t.Errorf("the certificate is for %s", s)
	}
	if life := certificate.NotAfter.Sub(certificate.NotBefore); life > time.Hour || certificate.IsCA {
		t.Errorf("a certificate of 10 minutes lives %v, authority %t", life, certificate.IsCA)
	}
	requests, err := shared.Cluster.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests.Items {
		if strings.HasPrefix(r.Name, "redoubt-tenant-") {
			t.Errorf("the signing request %s is left", r.Name)
		}
	}
	for _, wrong := range [][]string{{"--revoke", "--duration=1h"}, {"--user=a:b"}, {"--duration=1m"}, {"--duration=9000h"}} {
		if _, err := shared.Try(t, "", append([]string{"tenant", "kubeconfig", tenant}, wrong...)...); err == nil || !strings.Contains(err.Error(), "exit status 2") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// leaves gives the namespace to a tenant that nobody knows, takes it away, and
// gives it back: rights follow, whoever removes them.
func (u user) leaves(t *testing.T, name string) {
	label := func(value string) {
		_, err := shared.Cluster.CoreV1().Namespaces().Patch(t.Context(), name, "application/merge-patch+json", []byte(`{"metadata":{"labels":{"redoubt.dev/tenant":`+value+`}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	become := func(what string, want bool) {
		t.Helper()
		platform.Eventually(t, what, func() error {
			if got := may(t, u.cluster, right{"list", "pods"}.in(name)); got != want {
				return fmt.Errorf("the user may list pods: %t", got)
			}
			return nil
		})
	}
	label(`"nobody"`)
	become("the namespace of a tenant that does not exist is closed", false)
	label(`"` + name + `"`)
	become("the tenant's own namespace is open", true)
	label("null")
	become("the namespace of no tenant is closed", false)
	label(`"` + name + `"`)
	become("the namespace is open again", true)
	if err := shared.Cluster.RbacV1().RoleBindings(name).Delete(context.WithoutCancel(t.Context()), "redoubt-tenant", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	become("rights that somebody removed are back", true)
}
