package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

func newFunctionList(a *app) *cobra.Command {
	return newList(a, lister{
		use: "list [NAME]", short: "List functions", kind: "function", list: functions,
		table: func(_ *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error) {
			t := table{columns: []string{"NAME", "NAMESPACE", "HANDLER", "RUNTIME", "DEPENDENCIES", "STATUS"}}
			if wide {
				t.columns = append(t.columns, "CLASS", "AGE", "URL")
			}
			for _, fn := range list.(*kubeless.FunctionList).Items {
				row := []string{fn.Name, fn.Namespace, fn.Spec.Handler, fn.Spec.Runtime, oneLine(fn.Spec.Deps), functionStatus(&fn)}
				if wide {
					row = append(row, functionClass(&fn), age(fn.CreationTimestamp), fn.Status.URL)
				}
				t.rows = append(t.rows, row)
			}
			return t, nil
		},
	})
}

// functionStatus is Kubeless's column: READY or why not.
func functionStatus(fn *kubeless.Function) string {
	ready := fn.Status.Conditions.Get(serving.Ready)
	switch {
	case ready.Status == corev1.ConditionTrue:
		return "READY"
	case ready.Reason != "":
		return "NOT READY: " + ready.Reason
	}
	return "NOT READY"
}

func functionClass(fn *kubeless.Function) string {
	if fn.Spec.RuntimeClassName == nil {
		return "<default>"
	}
	return *fn.Spec.RuntimeClassName
}

// oneLine is a text as a table can have it. What a tenant's container wrote as it
// ended is in messages, and is not to command the terminal of who reads them.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

func newFunctionDescribe(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	p := &printFlags{}
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a function, what it runs as, and why it is not ready",
		Args:  oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			fn, err := c.function(cmd, args[0])
			if err != nil {
				return err
			}
			if p.format == "table" || p.wide() {
				return describeFunction(cmd, fn)
			}
			value, err := c.withKind(fn)
			if err != nil {
				return err
			}
			return p.print(cmd.OutOrStdout(), value, func() table { return table{names: []string{qualified("function", fn.Name)}} })
		},
		ValidArgsFunction: complete(f, functions),
	}
	f.register(cmd, false)
	p.register(cmd)
	return cmd
}

func describeFunction(cmd *cobra.Command, fn *kubeless.Function) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, value)
		}
	}
	field("Name", fn.Name)
	field("Namespace", fn.Namespace)
	field("Age", age(fn.CreationTimestamp))
	field("URL", fn.Status.URL)
	field("Handler", fn.Spec.Handler)
	field("Runtime", fn.Spec.Runtime)
	field("Class", functionClass(fn))
	field("Warm pool", fn.Annotations[kubeless.PoolAnnotation])
	field("Timeout", cmp.Or(fn.Spec.Timeout, "180")+" s")
	for _, c := range fn.Spec.Deployment.Spec.Template.Spec.Containers {
		field("Image", c.Image)
		for _, e := range c.Env {
			field("Env", e.Name+"="+e.Value)
		}
		field("Memory", limit(c.Resources, corev1.ResourceMemory))
		field("CPU", limit(c.Resources, corev1.ResourceCPU))
	}
	field("Dependencies", oneLine(fn.Spec.Deps))
	if revision, ok := kubeless.RolledBack(fn); ok {
		field("Rolled back", fmt.Sprintf("to version %d (%s), until the next change", versionOf(revision), revision))
	}
	from := fmt.Sprintf("%d bytes (%s); print it with -o yaml", len(fn.Spec.Function), cmp.Or(fn.Spec.FunctionContentType, "text"))
	if parts := kubeless.Parts(fn); parts != nil {
		from = fmt.Sprintf("in %d ConfigMaps (%s), %s first", len(parts), fn.Spec.FunctionContentType, parts[0])
	}
	field("Source", from)
	fmt.Fprintf(w, "\nConditions:\n")
	fmt.Fprintf(w, "  OK\tTYPE\tAGE\tREASON\n")
	for _, c := range fn.Status.Conditions {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", c.Status, c.Type, age(c.LastTransitionTime), reasonColumn(serving.Conditions{c}))
	}
	return w.Flush()
}

func limit(r corev1.ResourceRequirements, name corev1.ResourceName) string {
	if q, ok := r.Limits[name]; ok {
		return q.String()
	}
	return ""
}
