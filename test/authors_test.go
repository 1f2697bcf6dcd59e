package test

import (
	"strings"
	"testing"
)

// TestAuthorsAreNotForged writes the names of who made a service and changed it
// last, in every way: they stay what the API server wrote.
func TestAuthorsAreNotForged(t *testing.T) {
	ns := namespace(t)
	const creator, modifier = "serving.knative.dev/creator", "serving.knative.dev/lastModifier"
	const manifest = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web, namespace: %, annotations: {" + creator + ": forged, " + modifier + ": forged}}\n" +
		"spec: {template: {metadata: {annotations: {autoscaling.knative.dev/initial-scale: '0'}}, spec: {containers: [{image: localhost/redoubt/pause:latest}]}}}\n"
	kubectl := func(args ...string) error {
		_, err := shared.Try(t, strings.ReplaceAll(manifest, "%", ns), append([]string{"kubectl", "-n", ns}, args...)...)
		return err
	}
	names := func() string {
		return shared.Kubectl(t, "-n", ns, "get", "services.serving.knative.dev", "web", "-o",
			`jsonpath={.metadata.annotations.serving\.knative\.dev/creator} {.metadata.annotations.serving\.knative\.dev/lastModifier}`)
	}
	const web = "services.serving.knative.dev/web"
	var first string
	for _, args := range [][]string{
		{"create", "-f", "-"},
		{"annotate", web, creator + "=forged", modifier + "=forged", "color=blue", "--overwrite"},
		{"annotate", web, creator + "-", modifier + "-"},
		{"replace", "-f", "-"},
	} {
		if err := kubectl(args...); err != nil {
			t.Fatal(err)
		}
		now := names()
		if first == "" {
			first = now
		}
		if now != first || strings.Contains(now, "forged") || len(strings.Fields(now)) != 2 {
			t.Errorf("after %s it says %q, and said %q", args[0], now, first)
		}
	}
	if err := kubectl("patch", web, "--type=merge", "-p", `{"spec": {"template": {"metadata": {"annotations": {"color": "blue"}}}}}`, "--as=bob", "--as-group=system:masters"); err != nil {
		t.Fatal(err)
	}
	if now := names(); now != strings.Fields(first)[0]+" bob" {
		t.Errorf("after bob's change it says %q, and said %q", now, first)
	}
}
