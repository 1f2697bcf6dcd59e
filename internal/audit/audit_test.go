package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	head    = `{"kind":"Event","stage":"ResponseComplete","requestReceivedTimestamp":"2026-11-26T12:00:00.123456Z",`
	alice   = `"user":{"username":"redoubt:tenant:acme:alice","groups":["redoubt:tenant:acme:b5e1c0de:2","redoubt:tenants","system:authenticated"]},`
	owner   = `"user":{"username":"redoubt:admin","groups":["system:masters"]},`
	kubelet = `"user":{"username":"system:node:n","groups":["system:nodes"]},`
)

var filter = Filter{TenantOf: func(namespace string) string { return map[string]string{"acme": "acme", "rival-1": "rival"}[namespace] }}

// TestRecords has what is a record, and what each says.
func TestRecords(t *testing.T) {
	for _, test := range []struct{ name, line, want string }{
		{"forbidden read elsewhere", head + alice + `"verb":"list","objectRef":{"resource":"secrets","namespace":"rival-1"},"responseStatus":{"code":403,"message":"secrets is forbidden"}}`,
			"acme,rival redoubt:tenant:acme:alice list secrets rival-1/ refused 403 secrets is forbidden"},
		{"class below the floor", head + alice + `"verb":"create","objectRef":{"resource":"pods","namespace":"acme","name":"p"},"responseStatus":{"code":422,"message":"ValidatingAdmissionPolicy 'tenant-class' denied request: below the floor"}}`,
			"acme redoubt:tenant:acme:alice create pods acme/p refused 422 ValidatingAdmissionPolicy 'tenant-class' denied request: below the floor"},
		{"mistake", head + alice + `"verb":"create","objectRef":{"resource":"pods","namespace":"acme"},"responseStatus":{"code":422,"message":"spec.containers: Required value"}}`, ""},
		{"own read", head + alice + `"verb":"list","objectRef":{"resource":"pods","namespace":"acme"},"responseStatus":{"code":200}}`, ""},
		{"own pod", head + alice + `"verb":"create","objectRef":{"resource":"pods","namespace":"acme"},"responseStatus":{"code":201}}`, ""},
		{"own secret", head + alice + `"verb":"get","objectRef":{"resource":"secrets","namespace":"acme","name":"s"},"responseStatus":{"code":200}}`,
			"acme redoubt:tenant:acme:alice get secrets acme/s allowed 200 "},
		{"exec", head + owner + `"verb":"get","objectRef":{"resource":"pods","namespace":"acme","name":"p","subresource":"exec"},"responseStatus":{"code":101}}`,
			"acme redoubt:admin get pods/exec acme/p allowed 101 "},
		{"tenant's floor", head + owner + `"verb":"patch","objectRef":{"resource":"tenants","apiGroup":"redoubt.dev","name":"rival"},"responseStatus":{"code":200}}`,
			"rival redoubt:admin patch tenants.redoubt.dev /rival allowed 200 "},
		{"quota", head + owner + `"verb":"delete","objectRef":{"resource":"resourcequotas","namespace":"acme","name":"q"},"responseStatus":{"code":404,"message":"not found"}}`,
			"acme redoubt:admin delete resourcequotas acme/q failed 404 not found"},
		{"in another's name", head + owner + `"impersonatedUser":{"username":"bob","groups":["redoubt:tenant:rival"]},"verb":"list","objectRef":{"resource":"pods","namespace":"acme"},"responseStatus":{"code":200}}`,
			"rival,acme bob by redoubt:admin list pods acme/ allowed 200 "},
		{"kubelet at work", head + kubelet + `"verb":"get","objectRef":{"resource":"secrets","namespace":"acme"},"responseStatus":{"code":200}}`, ""},
		{"kubelet out of bounds", head + kubelet + `"verb":"get","objectRef":{"resource":"secrets","namespace":"acme"},"responseStatus":{"code":403}}`,
			"acme system:node:n get secrets acme/ refused 403 "},
		{"pod's account", head + `"user":{"username":"system:serviceaccount:acme:default"},"verb":"get","requestURI":"/metrics","responseStatus":{"code":403}}`,
			"acme system:serviceaccount:acme:default get /metrics / refused 403 "},
		{"controller of Kubernetes", head + `"user":{"username":"system:serviceaccount:kube-system:namespace-controller"},"verb":"delete","objectRef":{"resource":"secrets","namespace":"acme"},"responseStatus":{"code":200}}`, ""},
		{"nobody", head + `"user":{"username":"system:anonymous"},"verb":"get","requestURI":"/x","responseStatus":{"code":401}}`, " system:anonymous get /x / refused 401 "},
		{"escape", head + `"user":{"username":"a\u001b[2J\nb"},"verb":"get","requestURI":"/x","responseStatus":{"code":403}}`, " a [2J b get /x / refused 403 "},
		{"cut off", head + alice, ""},
	} {
		got := ""
		if r := filter.record([]byte(test.line)); r != nil {
			by := r.User
			if r.By != "" {
				by += " by " + r.By
			}
			got = fmt.Sprintf("%s %s %s %s %s/%s %s %d %s", strings.Join(r.Tenants, ","), by, r.Verb, r.Resource, r.Namespace, r.Name, r.Verdict, r.Code, r.Reason)
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestRead goes through rotated logs in order, past a line that is too long,
// and keeps what the filter wants.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	line := func(user, hour string) string {
		return `{"stage":"ResponseComplete","requestReceivedTimestamp":"2026-11-26T` + hour + `:00:00Z","user":{"username":"` + user + `","groups":["redoubt:tenant:` + user + `"]},"verb":"get","responseStatus":{"code":403}}` + "\n"
	}
	for name, text := range map[string]string{
		"audit-2026-11-26T02-00-00.000.log": line("a", "01") + line("b", "02"),
		"audit-2026-11-26T03-00-00.000.log": line(strings.Repeat("x", longestLine+10), "03") + line("a", "03"),
		"audit.log":                         line("b", "04") + line("a", "05") + strings.TrimSuffix(line("a", "06"), "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wanted := filter
	wanted.Tenant, wanted.Since = "a", time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		filter Filter
		want   []int // hours
	}{{filter, []int{1, 2, 3, 4, 5}}, {wanted, []int{3, 5}}} {
		records, err := Read(filepath.Join(dir, "audit.log"), test.filter)
		if err != nil {
			t.Fatal(err)
		}
		var hours []int
		for _, r := range records {
			hours = append(hours, r.Time.Hour())
		}
		if !slices.Equal(hours, test.want) {
			t.Errorf("hours %v, want %v", hours, test.want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(head + alice + `"verb":"list"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if r := filter.record(line); r != nil && (len([]rune(r.User)) > longestName || strings.ContainsAny(r.User+r.Reason, "\n\x1b")) {
			t.Errorf("%+v", *r)
		}
	})
}
