package test

import "testing"

// TestOwnersFieldsAreKept asks who wrote which field of what a service is made
// of: the owner's own object knows it, those of the controllers do not. Who
// applies to one of these all the same has that field, and no other changes.
func TestOwnersFieldsAreKept(t *testing.T) {
	ns := namespace(t)
	managers := func(name string) string {
		return shared.Kubectl(t, "-n", ns, "get", name, "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}")
	}
	const manifest = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web}\n" +
		"spec: {template: {metadata: {annotations: {autoscaling.knative.dev/initial-scale: '0'}}, spec: {containers: [{image: localhost/redoubt/pause:latest}]}}}\n"
	apply := func(manifest string) {
		if _, err := shared.Try(t, manifest, "kubectl", "-n", ns, "apply", "--server-side", "--field-manager=owner", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	apply(manifest)
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "services.serving.knative.dev/web", "--timeout=60s")
	if of := managers("services.serving.knative.dev/web"); of != "owner redoubt-controller" {
		t.Errorf("fields of the service are %q's", of)
	}
	for _, name := range []string{"configurations/web", "routes/web", "revisions.serving.knative.dev/web-00001"} {
		if of := managers(name); of != "" {
			t.Errorf("fields of %s are %q's", name, of)
		}
	}
	apply("apiVersion: serving.knative.dev/v1\nkind: Revision\nmetadata: {name: web-00001, labels: {color: blue}}\n")
	if of := managers("revisions.serving.knative.dev/web-00001"); of != "owner before-first-apply" {
		t.Errorf("fields of the labelled revision are %q's", of)
	}
	got := shared.Kubectl(t, "-n", ns, "get", "revisions.serving.knative.dev/web-00001", "-o", "jsonpath={.metadata.labels.color} {.spec.containers[0].image}")
	if got != "blue localhost/redoubt/pause:latest" {
		t.Errorf("the labelled revision says %q", got)
	}
}
