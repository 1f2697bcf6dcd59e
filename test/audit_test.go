package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/audit"
	"redoubt.dev/redoubt/test/platform"
)

// TestAudit looks for what a tenant's user was refused and what the owner did
// to the tenant, and for what must not stand in the log.
func TestAudit(t *testing.T) {
	const name, secret = "tenant-audited", "open-sesame-of-this-test"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	alice := newUser(t, name)
	ctx := t.Context()
	low := plain()
	low.Name, low.GenerateName = "low", ""
	if _, err := alice.cluster.CoreV1().Pods(name).Create(ctx, low, metav1.CreateOptions{}); err == nil {
		t.Error("a pod below the floor is let in")
	}
	if _, err := alice.cluster.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{}); err == nil {
		t.Error("a tenant's user reads the platform's secrets")
	}
	_, err := alice.cluster.CoreV1().Secrets(name).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, StringData: map[string]string{"password": secret}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Cluster.CoreV1().Pods(name).List(ctx, metav1.ListOptions{LabelSelector: "owner=looks"}); err != nil {
		t.Fatal(err)
	}
	shared.Redoubt(t, "tenant", "update", name, "--pods=7")
	const who = "redoubt:tenant:" + name + ":alice"
	for _, want := range []audit.Record{
		{User: who, Verb: "create", Resource: "pods", Namespace: name, Verdict: audit.Refused, Reason: "below the floor"},
		{User: who, Verb: "list", Resource: "secrets", Namespace: "kube-system", Verdict: audit.Refused, Reason: "forbidden"},
		{User: who, Verb: "create", Resource: "secrets", Namespace: name, Name: "kept", Verdict: audit.Allowed},
		{User: "redoubt:admin", Verb: "update", Resource: "tenants.redoubt.dev", Name: name, Verdict: audit.Allowed},
	} {
		platform.Eventually(t, fmt.Sprintf("%s %s %s", want.Verdict, want.Verb, want.Resource), func() error { return listed(t, name, want) })
	}
	table := shared.Redoubt(t, "audit", "--tenant="+name, "-o", "wide")
	if !all(table, "TENANT", "VERDICT", "CODE", "FROM", who, "403", "127.0.0.1") {
		t.Errorf("the table is\n%s", table)
	}
	if other := shared.Redoubt(t, "audit", "--tenant=nobody"); strings.Contains(other, who) {
		t.Errorf("another tenant's list is\n%s", other)
	}
	log := auditLog(t)
	for part, want := range map[string]bool{
		secret: false, "owner%3Dlooks": false, // secrets' bodies, and what administrators only read
		`"name":"kept"`: true, who: true, // the control: the same requests are there otherwise
	} {
		if strings.Contains(log, part) != want {
			t.Errorf("the log has %q: %t, want %t", part, !want, want)
		}
	}
	for path, want := range map[string]os.FileMode{shared.Inst.AuditLog(): 0o600, filepath.Dir(shared.Inst.AuditLog()): os.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s is %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
}

// listed looks for a record among a tenant's; its reason must hold the wanted
// one.
func listed(t *testing.T, tenant string, want audit.Record) error {
	t.Helper()
	var records []audit.Record
	if err := json.Unmarshal([]byte(shared.Redoubt(t, "audit", "--tenant="+tenant, "-o", "json")), &records); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.User == want.User && r.Verb == want.Verb && r.Resource == want.Resource && r.Namespace == want.Namespace && (want.Name == "" || r.Name == want.Name) &&
			r.Verdict == want.Verdict && strings.Contains(r.Reason, want.Reason) && !r.Time.IsZero() {
			return nil
		}
	}
	return fmt.Errorf("it is not among %+v", records)
}

// auditLog is all of it, the files that were closed too.
func auditLog(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, file := range auditFiles(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

func auditFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(strings.TrimSuffix(shared.Inst.AuditLog(), ".log") + "*.log")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestAuditLogIsRotated fills the log until another file is begun: those before
// are root's alone too, and what is in them is still listed.
func TestAuditLogIsRotated(t *testing.T) {
	const name = "tenant-rotated"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	bob := newUser(t, name)
	if _, err := bob.cluster.CoreV1().Secrets("kube-public").List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Fatal("a tenant's user reads the platform's secrets")
	}
	want := audit.Record{User: "redoubt:tenant:" + name + ":alice", Verb: "list", Resource: "secrets", Namespace: "kube-public", Verdict: audit.Refused, Reason: "forbidden"}
	platform.Eventually(t, "the record", func() error { return listed(t, name, want) })
	before := len(auditFiles(t))
	long := "name=" + strings.Repeat("x", 60<<10) // the request's path is written down
	platform.Eventually(t, "another file", func() error {
		for range 50 {
			_, _ = bob.cluster.CoreV1().Pods(name).List(t.Context(), metav1.ListOptions{FieldSelector: long})
		}
		if files := auditFiles(t); len(files) == before {
			return fmt.Errorf("there is %q", files)
		}
		return nil
	})
	for _, file := range auditFiles(t) {
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	if err := listed(t, name, want); err != nil {
		t.Error(err)
	}
}
