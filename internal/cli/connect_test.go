package cli

import (
	"io"
	"strings"
	"testing"
)

// run calls the command line in this process.
func run(args ...string) error {
	root := New()
	root.SetArgs(args)
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	return root.Execute()
}

// Of an instance that was never booted, every command says so, and how to
// boot it; kubectl is not let look for another cluster.
func TestInstanceIsNotBooted(t *testing.T) {
	instance := []string{"--name", "never", "--data-dir", t.TempDir()}
	for _, command := range []string{"kubectl", "kubeconfig", "kubeconfig --path", "logs gateway", "image ls", "service list", "runtimeclass measure", "certificate rotate"} {
		words := strings.Fields(command)
		args := append(append(words[:1:1], instance...), words[1:]...)
		if words[0] == "kubectl" {
			args = append(args, "get", "pods")
		}
		err := run(args...)
		if err == nil || !strings.Contains(err.Error(), "redoubt up --name never") {
			t.Errorf("%s: %v", command, err)
		}
	}
}
