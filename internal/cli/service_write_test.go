package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestServiceIsOneDocument(t *testing.T) {
	const hello = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: hello}\n"
	const other = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: other}\n"
	for name, c := range map[string]struct {
		file    string
		refused bool
	}{
		"one":                      {hello, false},
		"one between marks":        {"---\n" + hello + "---\n", false},
		"one and a comment":        {hello + "---\n# nothing\n", false},
		"JSON":                     {`{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "hello"}}`, false},
		"two":                      {hello + "---\n" + other, true},
		"two, the second is wrong": {hello + "---\n{", true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := &cobra.Command{}
			cmd.SetIn(strings.NewReader(c.file))
			var svc serving.Service
			err := readService(cmd, "-", &svc)
			if refused := err != nil; refused != c.refused {
				t.Fatalf("refused %t, want %t: %v", refused, c.refused, err)
			}
			if err == nil && svc.Name != "hello" {
				t.Errorf("read service %q", svc.Name)
			}
		})
	}
}
