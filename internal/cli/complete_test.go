package cli

import (
	"testing"

	"github.com/spf13/cobra"
)

// Wherever a class or a namespace is asked for, a shell can complete it.
func TestNamesOfTheClusterAreCompleted(t *testing.T) {
	seen := 0
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		for _, name := range []string{"runtime-class", "namespace"} {
			flag := cmd.Flags().Lookup(name)
			if flag == nil || flag.Hidden {
				continue
			}
			seen++
			if _, ok := cmd.GetFlagCompletionFunc(name); !ok {
				t.Errorf("%s --%s: nothing completes it", cmd.CommandPath(), name)
			}
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(New())
	if seen < 20 {
		t.Errorf("only %d such flags were seen", seen)
	}
}
