package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"redoubt.dev/redoubt/internal/kube"
)

// admission is the data of TestAdmission: what the API server answers to
// manifests, each a merge patch (RFC 7396) of its kind's good one.
type admission struct {
	// Good has one good manifest per kind.
	Good  map[string]json.RawMessage `json:"good"`
	Cases []struct {
		Kind   string          `json:"kind"`
		Change json.RawMessage `json:"change"`
		// Values take the place of $ in Change and Want, one test each.
		Values []any `json:"values"`
		// Want is in the answer; nothing means that the manifest is accepted.
		Want string `json:"want"`
	} `json:"cases"`
}

var admissionResources = map[string]schema.GroupVersionResource{
	"Service":       {Group: "serving.knative.dev", Version: "v1", Resource: "services"},
	"Configuration": {Group: "serving.knative.dev", Version: "v1", Resource: "configurations"},
	"Route":         {Group: "serving.knative.dev", Version: "v1", Resource: "routes"},
	"Revision":      {Group: "serving.knative.dev", Version: "v1", Resource: "revisions"},
	"DomainMapping": {Group: "serving.knative.dev", Version: "v1beta1", Resource: "domainmappings"},
}

func TestAdmission(t *testing.T) {
	var data admission
	text, err := os.ReadFile("testdata/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &data); err != nil {
		t.Fatal(err)
	}
	cfg, err := kube.Config(shared.Inst.Kubeconfig(), "redoubt-test")
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range data.Cases {
		values := c.Values
		if values == nil {
			values = []any{nil}
		}
		for _, value := range values {
			t.Run(fmt.Sprintf("%d %s %v", n, c.Kind, value), func(t *testing.T) {
				manifest := patched(t, data.Good[c.Kind], c.Change, value)
				want := strings.ReplaceAll(c.Want, "$", fmt.Sprint(value))
				_, err := client.Resource(admissionResources[c.Kind]).Namespace("default").Create(t.Context(), manifest,
					metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
				switch {
				case want == "" && err != nil:
					t.Errorf("refused: %v", err)
				case want != "" && err == nil:
					t.Errorf("accepted, want %q", want)
				case want != "" && !strings.Contains(err.Error(), want):
					t.Errorf("answered %q, want %q", err, want)
				}
			})
		}
	}
}

// patched is good with change merged in, where value stands for $.
func patched(t *testing.T, good, change json.RawMessage, value any) *unstructured.Unstructured {
	t.Helper()
	var tree any
	if err := json.Unmarshal(change, &tree); err != nil {
		t.Fatal(err)
	}
	change, err := json.Marshal(filledIn(tree, value))
	if err != nil {
		t.Fatal(err)
	}
	merged, err := jsonpatch.MergePatch(good, change)
	if err != nil {
		t.Fatal(err)
	}
	manifest := &unstructured.Unstructured{}
	if err := manifest.UnmarshalJSON(merged); err != nil {
		t.Fatal(err)
	}
	return manifest
}

// filledIn puts value in the place of every $: as it is where $ stands alone,
// as text where it is a part.
func filledIn(tree, value any) any {
	switch node := tree.(type) {
	case string:
		if node == "$" {
			return value
		}
		return strings.ReplaceAll(node, "$", fmt.Sprint(value))
	case []any:
		for i := range node {
			node[i] = filledIn(node[i], value)
		}
		return node
	case map[string]any:
		for key, child := range maps.Clone(node) {
			delete(node, key)
			node[strings.ReplaceAll(key, "$", fmt.Sprint(value))] = filledIn(child, value)
		}
		return node
	}
	return tree
}
