package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"redoubt.dev/redoubt/test/platform"
)

const httpTrigger = `
apiVersion: kubeless.io/v1beta1
kind: HTTPTrigger
metadata: {name: shop, namespace: %s}
spec:
  function-name: orders
  host-name: %s
  path: orders
  basic-auth-secret: users
  gateway: nginx
  tls: false
  cors-enable: true
---
apiVersion: v1
kind: Secret
metadata: {name: users, namespace: %s}
stringData: {auth: "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n"}
`

const orders = `
apiVersion: kubeless.io/v1beta1
kind: Function
metadata: {name: orders, namespace: %s, labels: {networking.knative.dev/visibility: cluster-local}}
spec:
  runtime: python3
  handler: app.path
  runtimeClassName: runc
  function: |
    def path(event, context):
        return event["extensions"]["request"]["path"]
`

// asked makes a request of the gateway, as ann if there is a password.
func asked(t *testing.T, host, path, password string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", shared.State.HTTPPort, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if password != "" {
		req.SetBasicAuth("ann", password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// readsSecret says whether the gateway may: yes or no.
func readsSecret(t *testing.T, ns, name string) string {
	t.Helper()
	out, _ := shared.Try(t, "", "kubectl", "auth", "can-i", "get", "secrets/"+name, "-n", ns, "--as", "redoubt:gateway")
	return strings.TrimSpace(out)
}

// Kubeless's YAML as it is: a host, a path, and a password for a function that
// is not to be reached otherwise. A second namespace does not get the host.
func TestHTTPTrigger(t *testing.T) {
	ns, second := namespace(t), namespace(t)
	shared.Redoubt(t, "function", "prepare", "python3")
	host := ns + ".example.org"
	shared.Apply(t, fmt.Sprintf(orders, ns))
	shared.Apply(t, fmt.Sprintf(httpTrigger, ns, host, ns))
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "functions.kubeless.io/orders", "httptriggers.kubeless.io/shop")
	platform.Eventually(t, "the gateway knows the password", func() error {
		if status, body := asked(t, host, "/orders/7", "secret"); status != http.StatusOK || body != "/7" {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	for password, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, "secret": http.StatusOK} {
		if status, body := asked(t, host, "/orders", password); status != want {
			t.Errorf("with the password %q: %d %s", password, status, body)
		}
	}
	if status, _ := asked(t, "orders."+ns+".localhost", "/", "secret"); status != http.StatusNotFound {
		t.Errorf("the function can be reached by its own name: %d", status)
	}
	if out := shared.Redoubt(t, "trigger", "-n", ns, "http", "list", "-o", "wide"); !all(out, "shop", host, "/orders", "users", "True") {
		t.Errorf("the list is %q", out)
	}
	// The gateway may read what the trigger names, and nothing else.
	for secret, may := range map[string]string{ns + " users": "yes", ns + " other": "no", second + " users": "no"} {
		in, name, _ := strings.Cut(secret, " ")
		if got := readsSecret(t, in, name); got != may {
			t.Errorf("the gateway can read %s: %q, want %s", secret, got, may)
		}
	}
	shared.Apply(t, fmt.Sprintf(httpTrigger, second, host, second))
	platform.Eventually(t, "the second is told", func() error {
		if out := shared.Redoubt(t, "trigger", "-n", second, "http", "list"); !strings.Contains(out, "HostAlreadyClaimed") {
			return errors.New(out)
		}
		return nil
	})
	shared.Redoubt(t, "trigger", "-n", ns, "http", "update", "shop", "--path", "/v2", "--cors-enable=false")
	platform.Eventually(t, "the path changes", func() error {
		if status, body := asked(t, host, "/v2/7", "secret"); status != http.StatusOK || body != "/7" {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	shared.Redoubt(t, "trigger", "-n", ns, "http", "delete", "shop")
	platform.Eventually(t, "the host is gone", func() error {
		if status, body := asked(t, host, "/v2", "secret"); status != http.StatusNotFound {
			return fmt.Errorf("%d %s", status, body)
		}
		if got := readsSecret(t, ns, "users"); got != "no" {
			return fmt.Errorf("the gateway can still read the secret: %s", got)
		}
		return nil
	})
}

func TestHTTPTriggerRefuses(t *testing.T) {
	ns := namespace(t)
	for title, tc := range map[string]struct {
		args []string
		says string
	}{
		"no function":     {nil, "needs --function-name"},
		"ACME":            {[]string{"--function-name=f", "--enableTLSAcme"}, "--tls-secret"},
		"unknown gateway": {[]string{"--function-name=f", "--gateway=apache"}, "leave it out"},
		"absent function": {[]string{"--function-name=f"}, "there is no function 'f'"},
	} {
		_, err := shared.Try(t, "", append([]string{"trigger", "-n", ns, "http", "create", "bad"}, tc.args...)...)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", title, err, tc.says)
		}
	}
	const manifest = `{"apiVersion": "kubeless.io/v1beta1", "kind": "HTTPTrigger", "metadata": {"name": "bad", "namespace": %q}, "spec": {"function-name": "f", %s}}`
	for field, says := range map[string]string{
		`"tls": true`:                             "tls-secret",
		`"host-name": "Www.example.org"`:          "full name in the DNS",
		`"host-name": "web"`:                      "full name in the DNS",
		`"host-name": "web.ns.svc"`:               "inside the cluster",
		`"host-name": "web.ns.svc.cluster.local"`: "inside the cluster",
		`"path": "/a/../b"`:                       "beginning of a path",
		`"path": "/a b"`:                          "beginning of a path",
	} {
		shared.Refuse(t, fmt.Sprintf(manifest, ns, field), says)
	}
	shared.Apply(t, fmt.Sprintf(manifest, ns, `"host-name": "one.example.org"`))
	shared.Refuse(t, fmt.Sprintf(manifest, ns, `"host-name": "two.example.org"`), "who comes first has a host")
	shared.Refuse(t, fmt.Sprintf(manifest, ns, `"path": "/x"`), "who comes first has a host")
}
