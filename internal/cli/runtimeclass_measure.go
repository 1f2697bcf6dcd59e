package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/client-go/kubernetes"

	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/probe"
	"redoubt.dev/redoubt/internal/probe/measure"
)

func newRuntimeClassMeasure(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	cmd := &cobra.Command{
		Use:   "measure [NAME...]",
		Short: "Find out what pods of each class can do, and write it down with the class",
		Long: `Find out what pods of each class can do, on each node, by running a program in two
pods: one that says nothing of its security, and one that is given everything.
"runtimeclass describe" shows what was found.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			recipe, err := image.Probe()
			if err != nil {
				return err
			}
			if err := a.withImages(cmd.Context(), func(images *store.Store) error {
				return image.Ensure(cmd.Context(), images, recipe, steps(cmd.ErrOrStderr()))
			}); err != nil {
				return err
			}
			f.kubeconfig = inst.Kubeconfig() // the one whose node has the image
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			return c.measure(cmd, names, recipe.Name)
		},
		ValidArgsFunction: complete(f, runtimeClasses),
	}
	return cmd
}

// measure runs the probe in the classes of these names, or in all that a node
// offers.
func (c *connection) measure(cmd *cobra.Command, names []string, image string) error {
	nodes, err := c.nodes(cmd.Context())
	if err != nil {
		return err
	}
	var classes nodev1.RuntimeClassList
	if err := c.List(cmd.Context(), &classes); err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(classes.Items, func(class nodev1.RuntimeClass) bool { return class.Name == name }) {
			return fmt.Errorf("there is no runtime class '%s'; see: redoubt runtimeclass list", name)
		}
	}
	cluster, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	var failed error
	for _, class := range classes.Items {
		if len(names) > 0 && !slices.Contains(names, class.Name) {
			continue
		}
		for _, node := range nodes.offering(&class) {
			if err := measure.Class(cmd.Context(), cluster, &class, node.Name, image); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Class '%s' is measured on node %s.\n", class.Name, node.Name)
		}
	}
	return failed
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
		part.attribute("kernel", m.Default.Kernel)
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
	return "no: " + privileged
}
