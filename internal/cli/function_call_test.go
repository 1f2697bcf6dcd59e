package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The kind of a call's data is told from what is sent, wherever it is read from.
func TestKindOfAnEvent(t *testing.T) {
	for name, c := range map[string]struct{ content, kind string }{
		"object": {`{"year": 2026}`, "application/json"},
		"text":   {"Hello world!", "text/plain; charset=utf-8"},
		"broken": {`{"year": `, "text/plain; charset=utf-8"},
	} {
		file := filepath.Join(t.TempDir(), "event")
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, data := range []string{c.content, "@" + file, "@-"} {
			t.Run(name+" "+data, func(t *testing.T) {
				r := &requestFlags{}
				cmd := &cobra.Command{}
				r.register(cmd)
				if err := cmd.Flags().Set("data", data); err != nil {
					t.Fatal(err)
				}
				cmd.SetIn(strings.NewReader(c.content))
				sent, err := r.content(cmd, 1<<20)
				if err != nil || string(sent) != c.content {
					t.Fatalf("sent %q, %v", sent, err)
				}
				if headers := eventHeaders(sent); !slices.Contains(headers, "Content-Type: "+c.kind) {
					t.Errorf("headers %q, want a Content-Type of %s", headers, c.kind)
				}
			})
		}
	}
}
