package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// describer is the command that describes one object.
type describer[T client.Object] struct {
	kind, short string
	empty       func() T
	list        func() client.ObjectList
	describe    func(ctx context.Context, out io.Writer, c *connection, obj T, verbose bool) error
}

func newDescribe[T client.Object](a *app, d describer[T]) *cobra.Command {
	f := &clusterFlags{app: a}
	var verbose bool
	var output string
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: d.short,
		Args:  oneName(d.kind),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			obj := d.empty()
			if err := c.Get(cmd.Context(), c.key(args[0]), obj); err != nil {
				return err
			}
			if output == "table" {
				return d.describe(cmd.Context(), cmd.OutOrStdout(), c, obj, verbose)
			}
			return printObject(cmd, c, obj, d.kind, output)
		},
		ValidArgsFunction: complete(f, d.list),
	}
	f.register(cmd, false)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "say more")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "one of: table, json, yaml, name, url")
	return cmd
}

func printObject(cmd *cobra.Command, c *connection, obj client.Object, kind, output string) error {
	if output == "url" {
		url, err := urlOf(obj)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), url)
		return err
	}
	if !slices.Contains([]string{"json", "yaml", "name"}, output) {
		return usage(fmt.Errorf("-o %q is no output format; use one of: table, json, yaml, name, url", output))
	}
	value, err := c.withKind(obj)
	if err != nil {
		return err
	}
	p := &printFlags{format: output}
	return p.print(cmd.OutOrStdout(), value, func() table {
		return table{names: []string{qualified(kind, obj.GetName())}}
	})
}

func urlOf(obj runtime.Object) (string, error) {
	switch o := obj.(type) {
	case *serving.Service:
		return o.Status.URL, nil
	case *serving.Route:
		return o.Status.URL, nil
	}
	return "", usage(fmt.Errorf("-o url is for what has a URL: services and routes"))
}

func newServiceDescribe(a *app) *cobra.Command {
	return newDescribe(a, describer[*serving.Service]{
		kind: "service", short: "Describe a service, its revisions and their state",
		empty: func() *serving.Service { return &serving.Service{} }, list: services, describe: describeService,
	})
}

func describeService(ctx context.Context, out io.Writer, c *connection, svc *serving.Service, verbose bool) error {
	revisions, err := revisionsOf(ctx, c, svc, verbose)
	if err != nil {
		return err
	}
	d := newDescription(out)
	d.metadata(&svc.ObjectMeta)
	d.attribute("URL", svc.Status.URL)
	if verbose && svc.Status.Address != nil {
		d.attribute("Cluster", svc.Status.Address.URL)
	}
	d.attribute("Class", className(&svc.Spec.Template.Spec))
	if account := svc.Spec.Template.Spec.ServiceAccountName; account != "" {
		d.attribute("Service Account", account)
	}
	d.section()
	list := d.attribute("Revisions", "")
	_ = d.out.Flush()
	for _, r := range revisions {
		r.describe(list, verbose)
	}
	d.section()
	d.conditions(svc.Status.Conditions, verbose)
	return nil
}

// revisionShare is a revision as its service sees it.
type revisionShare struct {
	revision   serving.Revision
	generation int64
	percent    int64
	header     string
}

// revisionsOf are those that get requests, and the latest; with all set, every
// one. The newest comes first.
func revisionsOf(ctx context.Context, c *connection, svc *serving.Service, all bool) ([]revisionShare, error) {
	var list serving.RevisionList
	if err := c.List(ctx, &list, client.InNamespace(svc.Namespace), client.MatchingLabels{serving.ServiceLabel: svc.Name}); err != nil {
		return nil, err
	}
	var found []revisionShare
	for _, rev := range list.Items {
		generation, _ := strconv.ParseInt(rev.Labels[serving.ConfigurationGenerationLabel], 10, 64)
		share := revisionShare{revision: rev, generation: generation}
		targeted := false
		for _, t := range svc.Status.Traffic {
			if t.RevisionName == rev.Name {
				targeted = true
				found = append(found, share.of(svc, &t))
			}
		}
		latest := rev.Name == svc.Status.LatestCreatedRevisionName || rev.Name == svc.Status.LatestReadyRevisionName
		if !targeted && (all || latest) {
			found = append(found, share.of(svc, &serving.TrafficTarget{}))
		}
	}
	slices.SortStableFunc(found, func(a, b revisionShare) int { return cmp.Compare(b.generation, a.generation) })
	return found, nil
}

func (s revisionShare) of(svc *serving.Service, t *serving.TrafficTarget) revisionShare {
	if t.Percent != nil {
		s.percent = *t.Percent
	}
	name := s.revision.Name
	switch {
	case t.LatestRevision != nil && *t.LatestRevision:
		s.header = fmt.Sprintf("@latest (%s)", name)
	case name == svc.Status.LatestReadyRevisionName:
		s.header = name + " (current @latest)"
	case name == svc.Status.LatestCreatedRevisionName:
		s.header = name + " (latest created)"
	default:
		s.header = name
	}
	if t.Tag != "" {
		s.header += " #" + t.Tag
	}
	s.header += fmt.Sprintf(" [%d] (%s)", s.generation, age(s.revision.CreationTimestamp))
	return s
}

func (s revisionShare) describe(d description, verbose bool) {
	ready := s.revision.Status.Conditions.Get(serving.Ready)
	symbol := "?"
	switch {
	case ready.Status == corev1.ConditionFalse:
		symbol = "!"
	case ready.Status == corev1.ConditionTrue && s.percent > 0:
		symbol = "%"
	case ready.Status == corev1.ConditionTrue:
		symbol = "+"
	}
	percent := "   "
	if s.percent > 0 {
		percent = fmt.Sprintf("%3d", s.percent)
	}
	part := d.item(percent+symbol, s.header)
	if ready.Status == corev1.ConditionFalse {
		part.attribute("Error", reasonColumn(s.revision.Status.Conditions))
	}
	describeImage(part, &s.revision)
	describeReplicas(part, &s.revision)
	describeStarts(part, &s.revision)
	if verbose {
		describeSettings(part, &s.revision)
	}
}
