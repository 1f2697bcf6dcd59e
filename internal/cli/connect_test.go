package cli

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
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

// Of an instance that is down, a command says how to boot it, as of one that
// never was up.
func TestInstanceIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr()
	l.Close()
	data := t.TempDir()
	kubeconfig := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x}}],
clusters: [{name: x, cluster: {server: "http://%s"}}]}`, address)
	if err := os.WriteFile(filepath.Join(data, "kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"service list", "function describe hello", "tenant create acme"} {
		err := run(append(strings.Fields(command), "--name", "down", "--data-dir", data)...)
		if err == nil || !strings.Contains(err.Error(), "redoubt up --name down") {
			t.Errorf("%s: %v", command, err)
		}
	}
	inst, err := (&app{name: "down", dataDir: data}).booted()
	if err != nil {
		t.Fatal(err)
	}
	if err := refused(inst); err == nil || !strings.Contains(err.Error(), "redoubt up --name down") {
		t.Errorf("kubectl: %v", err)
	}
	if l, err = net.Listen("tcp", address.String()); err != nil {
		t.Skip(err) // somebody else has the port now
	}
	defer l.Close()
	if err := refused(inst); err != nil {
		t.Errorf("kubectl of one that is up: %v", err)
	}
}

// Where $KUBECONFIG leads nowhere, that is what the command says.
func TestKubeconfigLeadsNowhere(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	if err := run("service", "list"); err == nil || !strings.Contains(err.Error(), "/does/not/exist; correct $KUBECONFIG") {
		t.Errorf("service list: %v", err)
	}
}
