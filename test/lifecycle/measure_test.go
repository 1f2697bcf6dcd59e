package lifecycle

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/internal/probe/measure"
	"redoubt.dev/redoubt/test/platform"
)

// An instance finds out by itself what its classes can do, once, and again when
// that was with other versions.
func TestClassesAreMeasuredAtInstall(t *testing.T) {
	const class = "runc" // which refuses nothing, and is measured first
	p := boot(t, "measured", "--measure")
	first := measured(t, p, class)
	if first.Fields["hostPID"] != "yes" || first.Fields["volumes.hostPath"] != "yes" {
		t.Errorf("measured: %v", first.Fields)
	}
	old := map[string]measure.Measured{p.Inst.NodeName(): {Versions: "older"}}
	text, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{measure.Annotation: string(text)}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Cluster.NodeV1().RuntimeClasses().Patch(t.Context(), class, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil { // pods of the measurement stay
		t.Fatal(err)
	}
	if err := p.Up("--measure"); err != nil {
		t.Fatal(err)
	}
	if again := measured(t, p, class); again.Versions != first.Versions {
		t.Errorf("measured with %q, before with %q", again.Versions, first.Versions)
	}
}

// measured waits until the class is measured with versions that are known.
func measured(t *testing.T, p *platform.Platform, class string) (m measure.Measured) {
	t.Helper()
	platform.Eventually(t, class+" is measured", func() error {
		c, err := p.Cluster.NodeV1().RuntimeClasses().Get(t.Context(), class, metav1.GetOptions{})
		if err != nil {
			return err
		}
		nodes, err := measure.Of(c)
		if m = nodes[p.Inst.NodeName()]; err == nil && (m.Versions == "" || m.Versions == "older") {
			err = fmt.Errorf("with versions %q", m.Versions)
		}
		return err
	})
	return m
}
