package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// lister is the command that lists the objects of one kind.
type lister struct {
	use, short, kind string
	list             func() client.ObjectList
	table            func(cmd *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error)
	// by, if it is not empty, is a label that --service selects on.
	by string
}

func newList(a *app, l lister) *cobra.Command {
	f := &clusterFlags{app: a}
	p := &printFlags{}
	var service string
	cmd := &cobra.Command{
		Use:     l.use,
		Aliases: []string{"ls"},
		Short:   l.short,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			options := []client.ListOption{client.InNamespace(c.namespace)}
			if service != "" {
				options = append(options, client.MatchingLabels{l.by: service})
			}
			if len(args) == 1 {
				options = append(options, client.MatchingFields{"metadata.name": args[0]})
			}
			list := l.list()
			if err := c.List(cmd.Context(), list, options...); err != nil {
				return err
			}
			t, err := l.table(cmd, c, list, p.wide())
			if err != nil {
				return err
			}
			if t.names == nil {
				t.names = nameLines(l.kind, list)
			}
			if len(t.rows) == 0 && (p.format == "table" || p.wide()) {
				fmt.Fprintf(cmd.ErrOrStderr(), "No %ss found.\n", l.kind)
				return nil
			}
			value, err := c.withKind(list)
			if err != nil {
				return err
			}
			return p.print(cmd.OutOrStdout(), value, func() table { return t })
		},
	}
	f.register(cmd, true)
	p.register(cmd)
	if l.by != "" {
		cmd.Flags().StringVarP(&service, "service", "s", "", "only those of this service")
	}
	return cmd
}

// nameLines are what -o name prints: what kubectl takes as an argument.
func nameLines(kind string, list client.ObjectList) []string {
	names, _ := namesOf(list) // a typed list always has names
	for i := range names {
		names[i] = qualified(kind, names[i])
	}
	return names
}

// qualified is KIND.GROUP/NAME.
func qualified(kind, name string) string {
	switch kind {
	case "function", "httptrigger", "cronjobtrigger", "natstrigger":
		return kind + ".kubeless.io/" + name
	case "tenant", "invocation":
		return kind + ".redoubt.dev/" + name
	case "runtimeclass":
		return kind + ".node.k8s.io/" + name
	}
	return kind + ".serving.knative.dev/" + name
}

// column puts NAMESPACE before the other columns where all are listed.
func (c *connection) column(columns ...string) []string {
	if c.namespace == "" {
		return append([]string{"NAMESPACE"}, columns...)
	}
	return columns
}

func (c *connection) row(namespace string, cells ...string) []string {
	if c.namespace == "" {
		return append([]string{namespace}, cells...)
	}
	return cells
}

func newServiceList(a *app) *cobra.Command {
	return newList(a, lister{
		use: "list [NAME]", short: "List services", kind: "service", list: services,
		table: func(_ *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error) {
			t := table{columns: c.column("NAME", "URL", "LATEST", "AGE", "CONDITIONS", "READY", "REASON")}
			if wide {
				t.columns = append(t.columns, "CLASS", "IMAGE")
			}
			for _, svc := range list.(*serving.ServiceList).Items {
				s := svc.Status
				row := c.row(svc.Namespace, svc.Name, s.URL, s.LatestReadyRevisionName, age(svc.CreationTimestamp),
					conditionsColumn(s.Conditions), readyColumn(s.Conditions), reasonColumn(s.Conditions))
				if wide {
					row = append(row, className(&svc.Spec.Template.Spec), svc.Spec.Template.Spec.Serving().Image)
				}
				t.rows = append(t.rows, row)
			}
			return t, nil
		},
	})
}

// className names the sandbox; a revision that names none gets the cluster's
// default.
func className(spec *serving.RevisionSpec) string {
	if spec.RuntimeClassName == nil {
		return "<default>"
	}
	return *spec.RuntimeClassName
}

// shares are a revision's part of the requests and its tags, over all routes
// of its namespace.
func shares(routes []serving.Route, revision string) (traffic, tags string) {
	var percent int64
	var names []string
	for _, route := range routes {
		for _, t := range route.Status.Traffic {
			if t.RevisionName != revision {
				continue
			}
			if t.Percent != nil {
				percent += *t.Percent
			}
			if t.Tag != "" {
				names = append(names, t.Tag)
			}
		}
	}
	if percent > 0 {
		traffic = strconv.FormatInt(percent, 10) + "%"
	}
	return traffic, strings.Join(names, ",")
}
