package tenant

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	nodev1 "k8s.io/api/node/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/sandbox"
)

// resolution is what a tenant's specification means on this cluster now.
type resolution struct {
	open   []string // weakest first
	closed []redoubt.ClosedClass
	// defaultClass is empty where pods must name a class.
	defaultClass string
	// problem says why the specification cannot be kept as it is; empty where
	// it can.
	problem string
	// plain says that one of the open classes shares the node's kernel.
	plain bool
}

// resolve finds the classes that a tenant may use: known, kept by a node,
// chosen by the owner, and at or above the floor.
func resolve(spec *redoubt.TenantSpec, classes []nodev1.RuntimeClass, nodes []map[string]string) resolution {
	var r resolution
	floor := sandbox.FloorOf(spec)
	classes = slices.Clone(classes)
	slices.SortFunc(classes, func(a, b nodev1.RuntimeClass) int {
		return cmp.Or(sandbox.Compare(sandbox.IsolationOf(&a, nodes), sandbox.IsolationOf(&b, nodes)), strings.Compare(a.Name, b.Name))
	})
	for _, class := range classes {
		isolation := sandbox.IsolationOf(&class, nodes)
		if reason := refusal(spec, floor, &class, isolation, nodes); reason != "" {
			r.closed = append(r.closed, redoubt.ClosedClass{Name: class.Name, Reason: reason})
			continue
		}
		r.open = append(r.open, class.Name)
		r.plain = r.plain || isolation == sandbox.Process
	}
	slices.SortFunc(r.closed, func(a, b redoubt.ClosedClass) int { return strings.Compare(a.Name, b.Name) })
	switch {
	case len(r.open) == 0:
		r.problem = fmt.Sprintf("no class is open to the tenant: none that a node can run is at or above the floor %q", spec.Floor)
	case spec.DefaultClass != "" && !slices.Contains(r.open, spec.DefaultClass):
		r.problem = fmt.Sprintf("the default class %q cannot be used: it %s", spec.DefaultClass, r.reason(spec.DefaultClass))
	default:
		r.defaultClass = spec.DefaultClass
	}
	return r
}

// refusal says why a class is closed, as the end of a sentence about it; empty
// where it is open.
func refusal(spec *redoubt.TenantSpec, floor sandbox.Floor, class *nodev1.RuntimeClass, isolation sandbox.Isolation, nodes []map[string]string) string {
	switch {
	case class.DeletionTimestamp != nil:
		return "is being deleted"
	case isolation == "":
		return "does not say how it isolates (label " + sandbox.IsolationLabel + ")"
	case !floor.Admits(isolation) && isolation == sandbox.EmulatedVM && floor.Isolation != sandbox.Process:
		return fmt.Sprintf("is emulated, which does not satisfy the floor %q", spec.Floor)
	case !floor.Admits(isolation):
		return fmt.Sprintf("isolates as %q, below the floor %q", isolation, spec.Floor)
	case spec.Classes != nil && !slices.Contains(spec.Classes, class.Name):
		return "is not among the tenant's classes"
	case !slices.ContainsFunc(nodes, func(n map[string]string) bool { return sandbox.Runs(n, class) }):
		return "is one that no node can run now"
	}
	return ""
}

func (r *resolution) reason(class string) string {
	for _, c := range r.closed {
		if c.Name == class {
			return c.Reason
		}
	}
	return "does not exist"
}
