package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/sandbox"
)

// isolations are what the values of the label mean.
var isolations = map[sandbox.Isolation]string{
	sandbox.Process:    "the processes of a pod share the node's kernel",
	sandbox.Kernel:     "a kernel in user space stands between a pod and the node's",
	sandbox.EmulatedVM: "a virtual machine with its own kernel, emulated: not every node runs it under KVM",
	sandbox.VM:         "a virtual machine with its own kernel, under KVM on every node",
}

func newRuntimeClass(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "runtimeclass",
		Aliases: []string{"runtimeclasses"},
		Short:   "Look at the sandboxes that workloads can choose",
	}
	cmd.AddCommand(
		newList(a, lister{use: "list [NAME]", short: "List runtime classes, and in a tenant's namespace which are open to it", kind: "runtimeclass", list: runtimeClasses, table: tableOfClasses}),
		newDescribe(a, describer[*nodev1.RuntimeClass]{
			kind: "runtimeclass", short: "Describe a runtime class, and what runs it on each node",
			empty: func() *nodev1.RuntimeClass { return &nodev1.RuntimeClass{} }, list: runtimeClasses, describe: describeClass,
		}),
		newRuntimeClassMeasure(a),
	)
	return cmd
}

func runtimeClasses() client.ObjectList { return &nodev1.RuntimeClassList{} }

func tableOfClasses(cmd *cobra.Command, c *connection, list client.ObjectList, _ bool) (table, error) {
	t := table{columns: []string{"NAME", "HANDLER", "ISOLATION", "NODES", "OVERHEAD CPU", "OVERHEAD MEMORY", "AGE"}}
	nodes, err := c.nodes(cmd.Context())
	if err != nil {
		return t, err
	}
	open, err := c.openClasses(cmd.Context())
	if err != nil {
		return t, err
	}
	if open != nil {
		t.columns = append(t.columns, "OPEN TO "+strings.ToUpper(c.namespace))
	}
	for _, class := range list.(*nodev1.RuntimeClassList).Items {
		cpu, memory := overheadOf(&class)
		row := []string{class.Name, class.Handler, isolationOf(&class), nodes.count(&class), cpu, memory, age(class.CreationTimestamp)}
		if open != nil {
			row = append(row, open(class.Name))
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// openClasses says of each class whether the namespace's pods may run in it;
// it is nil where the namespace is no tenant's, or not for this user to see.
func (c *connection) openClasses(ctx context.Context) (func(class string) string, error) {
	var ns corev1.Namespace
	if c.namespace == "" {
		return nil, nil
	}
	if err := c.Get(ctx, client.ObjectKey{Name: c.namespace}, &ns); apierrors.IsForbidden(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	tenant, known := ns.Labels[redoubt.TenantLabel], ns.Annotations
	if tenant == "" {
		return nil, nil
	}
	open := strings.Split(known[redoubt.OpenClassesAnnotation], ",")
	closed := strings.Split(known[redoubt.ClosedClassesAnnotation], "\n")
	return func(class string) string {
		switch {
		case known[redoubt.ResolvedAnnotation] != tenant:
			return "not known yet"
		case slices.Contains(open, class) && known[redoubt.DefaultClassAnnotation] == class:
			return "yes, the default"
		case slices.Contains(open, class):
			return "yes"
		}
		for _, line := range closed {
			if reason, ok := strings.CutPrefix(line, class+"="); ok {
				return "no: it " + reason
			}
		}
		return "no"
	}, nil
}

func describeClass(ctx context.Context, out io.Writer, c *connection, class *nodev1.RuntimeClass, _ bool) error {
	nodes, err := c.nodes(ctx)
	if err != nil {
		return err
	}
	d := newDescription(out)
	d.attribute("Name", class.Name)
	d.attribute("Handler", class.Handler)
	isolation := isolationOf(class)
	if meaning := isolations[sandbox.Isolation(isolation)]; meaning != "" {
		isolation += ": " + meaning
	}
	d.attribute("Isolation", isolation)
	cpu, memory := overheadOf(class)
	d.attribute("Overhead", fmt.Sprintf("cpu %s, memory %s for each pod", cpu, memory))
	offered := d.attribute("Nodes", nodes.count(class))
	for _, node := range nodes.offering(class) {
		offered.attribute(node.Name, acceleratorOf(class, &node))
	}
	d.section()
	if err := d.measured(class); err != nil {
		return err
	}
	return d.out.Flush()
}

// nodeList is the cluster's nodes, as far as the user may see them.
type nodeList struct {
	items  []corev1.Node
	hidden bool
}

func (c *connection) nodes(ctx context.Context) (nodeList, error) {
	var nodes corev1.NodeList
	err := c.List(ctx, &nodes)
	if apierrors.IsForbidden(err) {
		return nodeList{hidden: true}, nil
	}
	if err != nil {
		return nodeList{}, fmt.Errorf("list nodes: %w", err)
	}
	return nodeList{items: nodes.Items}, nil
}

// offering are the nodes that have the class's handler.
func (l nodeList) offering(class *nodev1.RuntimeClass) []corev1.Node {
	return slices.DeleteFunc(slices.Clone(l.items), func(node corev1.Node) bool { return !sandbox.OffersHandler(&node, class.Handler) })
}

// count is their number, for a table.
func (l nodeList) count(class *nodev1.RuntimeClass) string {
	if l.hidden {
		return "<hidden>"
	}
	return strconv.Itoa(len(l.offering(class)))
}

// acceleratorOf says what runs a class's machines on a node, where it differs
// from node to node.
func acceleratorOf(class *nodev1.RuntimeClass, node *corev1.Node) string {
	reported := node.Labels[sandbox.NodeIsolation(class.Handler)]
	if reported == "" {
		return "offers it"
	}
	return fmt.Sprintf("%s, %s", reported, node.Annotations[sandbox.AcceleratorAnnotation])
}

func isolationOf(class *nodev1.RuntimeClass) string {
	if isolation := class.Labels[sandbox.IsolationLabel]; isolation != "" {
		return isolation
	}
	return "<unknown>"
}

func overheadOf(class *nodev1.RuntimeClass) (cpu, memory string) {
	if class.Overhead == nil {
		return "<none>", "<none>"
	}
	return class.Overhead.PodFixed.Cpu().String(), class.Overhead.PodFixed.Memory().String()
}
