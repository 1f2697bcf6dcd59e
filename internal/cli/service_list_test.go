package cli

import (
	"strings"
	"testing"

	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/runtime"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// What -o name prints is an argument of kubectl's, so a kind is named with
// its own group.
func TestQualifiedNames(t *testing.T) {
	if got, want := qualified("runtimeclass", "x"), "runtimeclass."+nodev1.GroupName+"/x"; got != want {
		t.Errorf("qualified: %s, want %s", got, want)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{kubeless.AddToScheme, redoubt.AddToScheme, serving.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for kind, of := range scheme.AllKnownTypes() {
		own := strings.HasPrefix(of.PkgPath(), "redoubt.dev/redoubt/api/")
		if !own || strings.HasSuffix(kind.Kind, "List") {
			continue
		}
		seen++
		word := strings.ToLower(kind.Kind)
		if got, want := qualified(word, "x"), word+"."+kind.Group+"/x"; got != want {
			t.Errorf("qualified: %s, want %s", got, want)
		}
	}
	if seen < 8 {
		t.Errorf("only %d kinds were seen", seen)
	}
}
