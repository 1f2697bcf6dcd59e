package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"redoubt.dev/redoubt/test/platform"
)

// async is a function that fails the first time it is called for something, and
// some things it never does.
const async = `
apiVersion: kubeless.io/v1beta1
kind: Function
metadata: {name: slow, namespace: %s, labels: {redoubt.dev/async: "true"}}
spec:
  runtime: python3
  handler: app.slow
  runtimeClassName: runc
  function: |
    import os
    def slow(event, context):
        if event["data"] == "never":
            raise ValueError("bad day")
        seen = "/tmp/" + event["event-id"]
        if not os.path.exists(seen):
            open(seen, "w").close()
            raise ValueError("once")
        return "done with " + event["data"]["job"] + " for " + event["event-namespace"]
`

// A call that nobody waits for is made again until the function answers, and
// its answer can be had later; one that is never answered says why.
func TestFunctionCallAsync(t *testing.T) {
	ns := namespace(t)
	shared.Redoubt(t, "function", "prepare", "python3")
	shared.Apply(t, fmt.Sprintf(async, ns))
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "functions.kubeless.io/slow")
	id := strings.TrimSpace(function(t, ns, "call", "slow", "--async", "-d", `{"job": "report"}`))
	result := func(args ...string) (string, error) {
		return shared.Try(t, "", append([]string{"invocation", "-n", ns, "result"}, args...)...)
	}
	if out, err := result(id, "--wait"); err != nil || out != "done with report for invocations.redoubt.dev" {
		t.Errorf("the answer is %q, %v", out, err)
	}
	if out := shared.Redoubt(t, "invocation", "-n", ns, "list"); !all(out, id, "slow", "Succeeded", "2", "200") {
		t.Errorf("the list is %q", out)
	}
	later(t, "slow."+ns+".localhost")
	shared.Apply(t, fmt.Sprintf(`{"apiVersion": "redoubt.dev/v1", "kind": "Invocation", "metadata": {"name": "dead", "namespace": %q}, "spec": {"function": "slow", "contentType": "text/plain", "data": "bmV2ZXI=", "retries": 0}}`, ns))
	if _, err := result("dead", "--wait"); err == nil || !all(err.Error(), "failed after 1 attempts", "bad day") {
		t.Errorf("a call that is never answered: %v", err)
	}
	if out := shared.Kubectl(t, "-n", ns, "get", "invocation", "dead", "-o", "jsonpath={.spec.data}"); out != "bmV2ZXI=" {
		t.Errorf("the dead letter has the data %q", out)
	}
	shared.Apply(t, fmt.Sprintf(`{"apiVersion": "redoubt.dev/v1", "kind": "Invocation", "metadata": {"name": "short", "namespace": %q}, "spec": {"function": "none", "ttlSecondsAfterFinished": 10}}`, ns))
	if _, err := result("short", "--wait"); err == nil || !strings.Contains(err.Error(), "there is no function") {
		t.Errorf("a function that is not there: %v", err)
	}
	shared.Refuse(t, fmt.Sprintf(`{"apiVersion": "redoubt.dev/v1", "kind": "Invocation", "metadata": {"name": "dead", "namespace": %q}, "spec": {"function": "slow", "retries": 1}}`, ns), "does not change")
	if _, err := shared.Try(t, strings.Repeat("x", 70<<10), "function", "-n", ns, "call", "slow", "--async", "-d", "@-"); err == nil || !strings.Contains(err.Error(), "65536 bytes") {
		t.Errorf("data that are too large: %v", err)
	}
	shared.Redoubt(t, "invocation", "-n", ns, "delete", "dead")
	platform.Eventually(t, "what is finished goes in its time", func() error {
		if out := shared.Kubectl(t, "-n", ns, "get", "invocations", "-o", "name"); strings.Contains(out, "short") || !strings.Contains(out, id) {
			return fmt.Errorf("there are %q", out)
		}
		return nil
	})
}

// later asks the gateway not to wait, and for the answer afterwards.
func later(t *testing.T, host string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/", shared.State.HTTPPort), strings.NewReader(`{"job": "web"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Prefer", "respond-async")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("not to wait: %s", resp.Status)
	}
	platform.Eventually(t, "the answer is there", func() error {
		if status, body := asked(t, host, resp.Header.Get("Location"), ""); status != http.StatusOK || body != "done with web for invocations.redoubt.dev" {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}
