package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/probe"
	"redoubt.dev/redoubt/internal/probe/measure"
)

func newRuntimeClassMeasure(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	cmd := &cobra.Command{
		Use:   "measure [NAME...]",
		Short: "Find out what pods of each class can do, and write it down with the class",
		Long: `Find out what pods of each class can do, on each node, by running a program in
pods: one that says nothing of its security, one that is given everything, and one
for each field that not every class can do. "runtimeclass describe" shows what was
found, and what a class cannot do is refused to its pods from then on.

An instance that boots does so by itself for what was not measured with its
versions.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			inst, err := a.booted()
			if err != nil {
				return err
			}
			f.kubeconfig = inst.Kubeconfig() // the one whose node has the image
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if err := c.knowsClasses(cmd.Context(), names); err != nil {
				return err
			}
			const many = 12 // somebody waits
			p, err := cluster.Prober(cmd.Context(), inst, many, steps(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			return p.Each(cmd.Context(), func(class *nodev1.RuntimeClass, _ *corev1.Node) bool {
				return len(names) == 0 || slices.Contains(names, class.Name)
			}, func(class, node string) {
				fmt.Fprintf(cmd.OutOrStdout(), "Class '%s' is measured on node %s.\n", class, node)
			})
		},
		ValidArgsFunction: complete(f, runtimeClasses),
	}
	return cmd
}

// knowsClasses fails where one of the names is no class's.
func (c *connection) knowsClasses(ctx context.Context, names []string) error {
	for _, name := range names {
		err := c.Get(ctx, client.ObjectKey{Name: name}, &nodev1.RuntimeClass{})
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("there is no runtime class '%s'; see: redoubt runtimeclass list", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// measured writes what was found out of a class.
func (d description) measured(class *nodev1.RuntimeClass) error {
	nodes, err := measure.Of(class)
	if err != nil {
		return err
	}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		m := nodes[node]
		part := d.attribute("Measured on "+node, age(m.At)+" ago")
		part.attribute("with", m.Versions)
		part.attribute("kernel", m.Default.Kernel)
		for _, name := range slices.Sorted(maps.Keys(m.Figures)) {
			part.attribute(name, strconv.FormatFloat(m.Figures[name], 'f', 0, 64))
		}
		for _, verb := range slices.Sorted(maps.Keys(m.Verbs)) {
			part.attribute(verb, yesOrNo(m.Verbs[verb]))
		}
		for _, field := range slices.Sorted(maps.Keys(m.Fields)) {
			part.attribute("spec."+field, yesOrNo(m.Fields[field]))
		}
		for _, what := range slices.Sorted(maps.Keys(m.Default.Can)) {
			part.attribute(what, found(m.Default.Can[what], m.Privileged.Can[what]))
		}
	}
	return nil
}

// found says which pods can do something.
func found(byDefault, privileged string) string {
	switch {
	case byDefault == probe.Works:
		return "yes"
	case privileged == probe.Works:
		return "privileged pods only"
	}
	return "no: " + cmp.Or(privileged, byDefault)
}

func yesOrNo(answer string) string {
	if answer == probe.Works {
		return "yes"
	}
	return "no: " + answer
}
