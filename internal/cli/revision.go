package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func newRevision(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revision",
		Aliases: []string{"revisions"},
		Short:   "Look after the versions of services",
	}
	cmd.AddCommand(
		newRevisionList(a),
		newDescribe(a, describer[*serving.Revision]{
			kind: "revision", short: "Describe a revision and its state",
			empty: func() *serving.Revision { return &serving.Revision{} }, list: revisions, describe: describeRevision,
		}),
		newRevisionDelete(a),
	)
	return cmd
}

func revisions() client.ObjectList { return &serving.RevisionList{} }

func newRevisionList(a *app) *cobra.Command {
	return newList(a, lister{
		use: "list [NAME]", short: "List revisions with their shares of the requests", kind: "revision", list: revisions, by: serving.ServiceLabel,
		table: func(cmd *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error) {
			t := table{columns: c.column("NAME", "SERVICE", "TRAFFIC", "TAGS", "GENERATION", "AGE", "CONDITIONS", "READY", "REASON")}
			if wide {
				t.columns = append(t.columns, "CLASS", "REPLICAS")
			}
			var routes serving.RouteList
			if err := c.List(cmd.Context(), &routes, client.InNamespace(c.namespace)); err != nil {
				return t, err
			}
			byNamespace := map[string][]serving.Route{}
			for _, r := range routes.Items {
				byNamespace[r.Namespace] = append(byNamespace[r.Namespace], r)
			}
			for _, rev := range list.(*serving.RevisionList).Items {
				traffic, tags := shares(byNamespace[rev.Namespace], rev.Name)
				row := c.row(rev.Namespace, rev.Name, rev.Labels[serving.ServiceLabel], traffic, tags,
					rev.Labels[serving.ConfigurationGenerationLabel], age(rev.CreationTimestamp),
					conditionsColumn(rev.Status.Conditions), readyColumn(rev.Status.Conditions), reasonColumn(rev.Status.Conditions))
				if wide {
					row = append(row, className(&rev.Spec), replicas(&rev))
				}
				t.rows = append(t.rows, row)
			}
			return t, nil
		},
	})
}

func newRevisionDelete(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete revisions",
		Long:  "Delete revisions. One that still gets requests is kept from nobody: the route says then that it is missing.",
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				return usage(errors.New("'revision delete' needs the names of revisions"))
			}
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			return each(names, func(name string) error {
				if err := w.remove(cmd.Context(), c, &serving.Revision{}, name); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "Revision '%s' deleted in namespace '%s'.\n", name, c.namespace)
				return nil
			})
		},
		ValidArgsFunction: complete(f, revisions),
	}
	f.register(cmd, false)
	w.register(cmd, false)
	return cmd
}

func describeRevision(_ context.Context, out io.Writer, _ *connection, rev *serving.Revision, verbose bool) error {
	d := newDescription(out)
	d.metadata(&rev.ObjectMeta)
	describeImage(d, rev)
	describeReplicas(d, rev)
	describeSettings(d, rev)
	if svc := rev.Labels[serving.ServiceLabel]; svc != "" {
		d.attribute("Service", svc)
	}
	d.section()
	d.conditions(rev.Status.Conditions, verbose)
	return nil
}

func describeImage(d description, rev *serving.Revision) {
	d.attribute("Image", rev.Spec.Serving().Image)
}

func describeReplicas(d description, rev *serving.Revision) {
	d.attribute("Replicas", replicas(rev))
}

// describeStarts says how long requests waited lately for an instance that did
// not run.
func describeStarts(d description, rev *serving.Revision) {
	var starts []string
	for _, start := range slices.Backward(rev.Status.ColdStarts) {
		starts = append(starts, fmt.Sprintf("%s in %v (%s)", strings.ToLower(start.Kind), start.Took.Duration, age(metav1.NewTime(start.Time.Time))))
	}
	if len(starts) > 0 {
		d.attribute("Cold Starts", strings.Join(starts, ", "))
	}
}

// replicas is how many instances are ready, of how many there should be.
func replicas(rev *serving.Revision) string {
	var actual, desired int32
	if n := rev.Status.ActualReplicas; n != nil {
		actual = *n
	}
	if n := rev.Status.DesiredReplicas; n != nil {
		desired = *n
	}
	return fmt.Sprintf("%d/%d", actual, desired)
}

func describeSettings(d description, rev *serving.Revision) {
	c := rev.Spec.Serving()
	d.attribute("Class", className(&rev.Spec))
	d.attribute("Port", strconv.Itoa(int(rev.Spec.Port())))
	var env []string
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			value = "[ref]" // it may be a secret's
		}
		env = append(env, e.Name+"="+value)
	}
	d.list("Env", env)
	least, most := rev.Annotations[serving.MinScaleAnnotation], rev.Annotations[serving.MaxScaleAnnotation]
	if least != "" || most != "" {
		d.attribute("Scale", orElse(least, "0")+" ... "+orElse(most, "∞"))
	}
	if limit := rev.Spec.ContainerConcurrency; limit > 0 {
		d.attribute("Concurrency", "").attribute("Limit", strconv.FormatInt(limit, 10))
	}
	d.attribute("Timeout", strconv.FormatInt(rev.Spec.TimeoutSeconds, 10)+"s")
	describeAmount(d, "Memory", c, corev1.ResourceMemory)
	describeAmount(d, "CPU", c, corev1.ResourceCPU)
}

func describeAmount(d description, label string, c *serving.Container, name corev1.ResourceName) {
	var amounts []string
	for _, list := range []corev1.ResourceList{c.Resources.Requests, c.Resources.Limits} {
		if quantity, ok := list[name]; ok {
			amounts = append(amounts, quantity.String())
		}
	}
	if len(amounts) > 0 {
		d.attribute(label, strings.Join(amounts, " ... "))
	}
}

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
