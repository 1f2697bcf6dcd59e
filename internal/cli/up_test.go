package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"redoubt.dev/redoubt/internal/instance"
)

// Without the roles nothing serves, and no address is given where it would be.
func TestBareInstanceNamesNoServices(t *testing.T) {
	for _, bare := range []bool{false, true} {
		var out strings.Builder
		cmd := &cobra.Command{}
		cmd.SetOut(&out)
		welcome(cmd, instance.Instance{Name: "x", DataDir: "/x"}, instance.State{HTTPPort: 8080, Bare: bare})
		if strings.Contains(out.String(), "localhost:8080") == bare || !strings.Contains(out.String(), "redoubt status --name x") {
			t.Errorf("bare %v: %s", bare, out.String())
		}
	}
}
