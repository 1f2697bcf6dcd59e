package sandbox

import (
	"slices"

	nodev1 "k8s.io/api/node/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// Floor is the weakest isolation that somebody accepts.
type Floor struct {
	Isolation Isolation
	// AllowEmulatedVM takes a virtual machine without KVM for one with it;
	// without it such a machine is worth no more than a process.
	AllowEmulatedVM bool
}

// FloorOf is a tenant's floor.
func FloorOf(spec *redoubt.TenantSpec) Floor {
	return Floor{Isolation: Isolation(spec.Floor), AllowEmulatedVM: spec.AllowEmulatedVM}
}

// Admits says whether an isolation is at or above the floor. One that is not
// known never is.
func (f Floor) Admits(i Isolation) bool {
	if i == EmulatedVM {
		i = Process
		if f.AllowEmulatedVM {
			i = VM
		}
	}
	return Known(i) && Known(f.Isolation) && rank(i) >= rank(f.Isolation)
}

// Known says whether i is one of the kinds that are shipped.
func Known(i Isolation) bool { return slices.Contains(strength, i) }

// IsolationOf is how a class really isolates: as its label says, but never
// better than its handler can, nor than the weakest node reports of it. It is
// empty where the class does not say.
func IsolationOf(class *nodev1.RuntimeClass, nodes []map[string]string) Isolation {
	label := Isolation(class.Labels[IsolationLabel])
	if !Known(label) {
		return ""
	}
	if ceiling := shipped(class.Handler, nodes); ceiling != "" {
		return weaker(label, ceiling)
	}
	if reported, known := Weakest(class.Handler, nodes); known {
		return weaker(label, reported)
	}
	return label
}

// HandlerIsolation is how a handler isolates, whatever class a pod has named:
// as is known of those that are shipped, as the weakest class that names it
// says of others. It is empty where no class does, or one does not say.
func HandlerIsolation(handler string, classes []nodev1.RuntimeClass, nodes []map[string]string) Isolation {
	if known := shipped(handler, nodes); known != "" {
		return known
	}
	weakest := VM
	named := false
	for _, class := range classes {
		if class.Handler != handler {
			continue
		}
		i := IsolationOf(&class, nodes)
		if i == "" {
			return ""
		}
		named, weakest = true, weaker(weakest, i)
	}
	if !named {
		return ""
	}
	return weakest
}

// shipped is how a handler that Redoubt ships isolates; empty for others. A
// container runtime calls its default handler nothing: plain containers.
func shipped(handler string, nodes []map[string]string) Isolation {
	switch handler {
	case "", "runc":
		return Process
	case "gvisor":
		return Kernel
	case "microvm":
		if reported, known := Weakest(handler, nodes); known {
			return reported
		}
		return EmulatedVM
	}
	return ""
}

// Runs says whether a node with these labels takes pods of the class: it has
// the handler, and what the class schedules by.
func Runs(node map[string]string, class *nodev1.RuntimeClass) bool {
	if node[NodePrefix+class.Handler] != "true" {
		return false
	}
	if class.Scheduling == nil {
		return true
	}
	for key, value := range class.Scheduling.NodeSelector {
		if node[key] != value {
			return false
		}
	}
	return true
}

func weaker(a, b Isolation) Isolation {
	if rank(b) < rank(a) {
		return b
	}
	return a
}

// Compare orders kinds of isolation, weakest first and unknown ones last.
func Compare(a, b Isolation) int { return rank(a) - rank(b) }
