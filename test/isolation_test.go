package test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/sandbox"
	"redoubt.dev/redoubt/test/platform"
)

// The class microvm says what its nodes report of their virtual machines,
// whatever somebody else wrote, and so does the command line.
func TestClassSaysHowItsMachinesRun(t *testing.T) {
	nodes, err := shared.Cluster.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node := nodes.Items[0]
	if !sandbox.OffersHandler(&node, "microvm") {
		t.Log("this node has no virtual machines")
		return
	}
	label := sandbox.NodeIsolation("microvm")
	platform.Eventually(t, "the node says how its machines run", func() error {
		now, err := shared.Cluster.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
		if err == nil && (now.Labels[label] == "" || now.Annotations[sandbox.AcceleratorAnnotation] == "") {
			err = fmt.Errorf("labels %v, annotations %v", now.Labels, now.Annotations)
		}
		node = *now
		return err
	})
	want := node.Labels[label]
	wrong := map[string]string{"vm": "vm-emulated", "vm-emulated": "vm"}[want]
	shared.Kubectl(t, "label", "runtimeclass", "microvm", "--overwrite", sandbox.IsolationLabel+"="+wrong)
	platform.Eventually(t, "the class says it too", func() error {
		class, err := shared.Cluster.NodeV1().RuntimeClasses().Get(t.Context(), "microvm", metav1.GetOptions{})
		if err == nil && class.Labels[sandbox.IsolationLabel] != want {
			err = fmt.Errorf("it says %s, the node %s", class.Labels[sandbox.IsolationLabel], want)
		}
		return err
	})
	described := shared.Redoubt(t, "runtimeclass", "describe", "microvm")
	for _, part := range []string{want + ": ", node.Annotations[sandbox.AcceleratorAnnotation], node.Name} {
		if !strings.Contains(described, part) {
			t.Errorf("no %q in:\n%s", part, described)
		}
	}
	// The controller may relabel this class and no other.
	for class, want := range map[string]string{"microvm": "yes", "gvisor": "no", "runc": "no"} {
		if got, _ := shared.Try(t, "", "kubectl", "auth", "can-i", "patch", "runtimeclasses/"+class, "--as=redoubt:controller"); strings.TrimSpace(got) != want {
			t.Errorf("the controller may patch class %s: %s, want %s", class, got, want)
		}
	}
}
