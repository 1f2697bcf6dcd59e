package cli

import (
	"runtime"

	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/version"
)

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
				for _, p := range version.Programs {
					t.rows = append(t.rows, []string{p.Name, v.Engine[p.Name]})
				}
				return t
			})
		},
	}
	p.register(cmd)
	return cmd
}

func collectVersions() versions {
	v := versions{Redoubt: version.Redoubt, Go: runtime.Version(), Engine: map[string]string{}}
	dir, err := instance.EngineDir()
	for _, p := range version.Programs {
		v.Engine[p.Name] = "not built"
		if err != nil {
			continue
		}
		if found, err := version.Of(dir, p.Name); err == nil {
			v.Engine[p.Name] = found
		}
	}
	return v
}
