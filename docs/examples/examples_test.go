package examples

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"redoubt.dev/redoubt/internal/manifest"
)

func TestInClass(t *testing.T) {
	for _, c := range []struct {
		manifest string
		class    []string // where the class stands
	}{
		{Pod, []string{"spec", "runtimeClassName"}},
		{Service, []string{"spec", "template", "spec", "runtimeClassName"}},
	} {
		objects, err := manifest.Decode([]byte(InClass(c.manifest, "other", "microvm")))
		if err != nil || len(objects) != 1 {
			t.Fatalf("%v, %d objects", err, len(objects))
		}
		class, _, err := unstructured.NestedString(objects[0].Object, c.class...)
		if err != nil || class != "microvm" || objects[0].GetName() != "other" {
			t.Errorf("%s %q in class %q, %v", objects[0].GetKind(), objects[0].GetName(), class, err)
		}
	}
}
