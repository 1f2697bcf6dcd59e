package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func newRoute(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "route",
		Aliases: []string{"routes"},
		Short:   "Look at where the requests for a name go",
	}
	cmd.AddCommand(
		newList(a, lister{
			use: "list [NAME]", short: "List routes", kind: "route", list: routes,
			table: func(_ *cobra.Command, c *connection, list client.ObjectList, _ bool) (table, error) {
				t := table{columns: c.column("NAME", "URL", "READY")}
				for _, r := range list.(*serving.RouteList).Items {
					t.rows = append(t.rows, c.row(r.Namespace, r.Name, r.Status.URL, readyColumn(r.Status.Conditions)))
				}
				return t, nil
			},
		}),
		newDescribe(a, describer[*serving.Route]{
			kind: "route", short: "Describe a route and its targets",
			empty: func() *serving.Route { return &serving.Route{} }, list: routes, describe: describeRoute,
		}),
	)
	return cmd
}

func routes() client.ObjectList { return &serving.RouteList{} }

func describeRoute(_ context.Context, out io.Writer, _ *connection, route *serving.Route, verbose bool) error {
	d := newDescription(out)
	d.metadata(&route.ObjectMeta)
	d.attribute("URL", route.Status.URL)
	for _, owner := range route.OwnerReferences {
		if owner.Kind == "Service" {
			d.attribute("Service", owner.Name)
		}
	}
	d.section()
	list := d.attribute("Traffic Targets", "")
	_ = d.out.Flush()
	for _, t := range route.Status.Traffic {
		header := t.RevisionName
		if t.LatestRevision != nil && *t.LatestRevision {
			header = fmt.Sprintf("@latest (%s)", t.RevisionName)
		}
		if t.Tag != "" {
			header += " #" + t.Tag
		}
		var percent int64
		if t.Percent != nil {
			percent = *t.Percent
		}
		part := list.item(fmt.Sprintf("%3d%%", percent), header)
		if t.Tag != "" {
			part.attribute("URL", t.URL)
		}
	}
	d.section()
	d.conditions(route.Status.Conditions, verbose)
	return nil
}
