package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// printFlags is the flag -o as kubectl's users know it.
type printFlags struct{ format string }

var formats = []string{"table", "wide", "json", "yaml", "name"}

func (p *printFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.format, "output", "o", "table", "one of: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, p.format) {
			return usage(fmt.Errorf("-o %q is no output format; use one of: %s", p.format, strings.Join(formats, ", ")))
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

// wide says whether the columns that most readers do not need are wanted.
func (p *printFlags) wide() bool { return p.format == "wide" }

// table is rows for people to read. Names, one per row, are what -o name
// prints; the first column where there are none.
type table struct {
	columns []string
	rows    [][]string
	names   []string
}

// print writes value as JSON or YAML, or the table that asTable makes of it.
func (p *printFlags) print(out io.Writer, value any, asTable func() table) error {
	switch p.format {
	case "json":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "    ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	case "yaml":
		data, err := yaml.Marshal(value)
		if err != nil {
			return fmt.Errorf("print as YAML: %w", err)
		}
		_, err = out.Write(data)
		return err
	case "name":
		return asTable().printNames(out)
	}
	return asTable().print(out)
}

func (t table) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, strings.Join(t.columns, "\t"))
	for _, row := range t.rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

func (t table) printNames(out io.Writer) error {
	names := t.names
	if names == nil {
		for _, row := range t.rows {
			names = append(names, row[0])
		}
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(out, name); err != nil {
			return err
		}
	}
	return nil
}
