package cli

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/instance"
)

// Version is Redoubt's own, stamped when a release is built.
var Version = "v0.1.0-dev"

// engineVersions says how to ask each upstream program for its version.
var engineVersions = []struct {
	name string
	args []string
}{
	{"kubernetes", []string{"kubelet", "--version"}},
	{"etcd", []string{"--version"}},
	{"containerd", []string{"--version"}},
	{"runc", []string{"--version"}},
	{"runsc", []string{"--version"}},
	{"coredns", []string{"--version"}},
}

type versions struct {
	Redoubt string            `json:"redoubt"`
	Go      string            `json:"go"`
	Engine  map[string]string `json:"engine"`
}

func newVersion(*app) *cobra.Command {
	p := &printFlags{}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of Redoubt and of the upstream programs it runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := collectVersions()
			return p.print(cmd.OutOrStdout(), v, func() table {
				t := table{columns: []string{"COMPONENT", "VERSION"}, rows: [][]string{{"redoubt", v.Redoubt}}}
				for _, e := range engineVersions {
					t.rows = append(t.rows, []string{e.name, v.Engine[e.name]})
				}
				return t
			})
		},
	}
	p.register(cmd)
	return cmd
}

func collectVersions() versions {
	v := versions{Redoubt: Version, Go: runtime.Version(), Engine: map[string]string{}}
	dir, err := instance.EngineDir()
	for _, e := range engineVersions {
		v.Engine[e.name] = "not built"
		if err != nil {
			continue
		}
		if out, err := exec.Command(filepath.Join(dir, e.name), e.args...).Output(); err == nil {
			v.Engine[e.name] = findVersion(string(out))
		}
	}
	return v
}

// findVersion takes the first word with a digit and a dot from what a program
// prints of itself.
func findVersion(out string) string {
	for word := range strings.FieldsSeq(out) {
		word = strings.TrimPrefix(word, "CoreDNS-")
		if strings.ContainsAny(word, "0123456789") && strings.Contains(word, ".") && !strings.Contains(word, "/") {
			return "v" + strings.TrimPrefix(word, "v")
		}
	}
	return fmt.Sprintf("unknown (%s)", strings.TrimSpace(out))
}
