// Package sandbox lists the sandbox classes of a cluster: RuntimeClasses that
// say how they isolate, as far as a node really offers them.
package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
)

// IsolationLabel on a RuntimeClass makes it a sandbox class and says what
// stands between its pods and their node.
const IsolationLabel = "redoubt.dev/isolation"

// What admission refuses to pods of a class stands in these annotations of its
// RuntimeClass, a line FIELD=REASON for each field of a pod's specification: what
// was measured, and until then what was declared.
const (
	LacksAnnotation         = "redoubt.dev/lacks"
	DeclaredLacksAnnotation = "redoubt.dev/declared-lacks"
)

// Isolation is a value of IsolationLabel.
type Isolation string

// The kinds of isolation that are shipped, weakest first. An emulated virtual
// machine is one that QEMU runs without KVM: its own security policy does not
// cover that.
const (
	Process    Isolation = "process"
	Kernel     Isolation = "kernel"
	EmulatedVM Isolation = "vm-emulated"
	VM         Isolation = "vm"
)

var strength = []Isolation{Process, Kernel, EmulatedVM, VM}

// Class is a RuntimeClass that is a sandbox class.
type Class struct {
	Name      string
	Handler   string
	Isolation Isolation
}

// Offered lists the classes with which a pod could be scheduled now, weakest
// first and those of unknown isolation last.
func Offered(ctx context.Context, cluster kubernetes.Interface) ([]Class, error) {
	classes, err := cluster.NodeV1().RuntimeClasses().List(ctx, metav1.ListOptions{LabelSelector: IsolationLabel})
	if err != nil {
		return nil, fmt.Errorf("list runtime classes: %w", err)
	}
	nodes, err := cluster.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	return choose(classes.Items, nodes.Items), nil
}

func choose(classes []nodev1.RuntimeClass, nodes []corev1.Node) []Class {
	var offered []Class
	for _, c := range classes {
		if slices.ContainsFunc(nodes, func(n corev1.Node) bool { return runs(n, c) }) {
			offered = append(offered, Class{Name: c.Name, Handler: c.Handler, Isolation: Isolation(c.Labels[IsolationLabel])})
		}
	}
	slices.SortFunc(offered, func(a, b Class) int {
		return cmp.Or(rank(a.Isolation)-rank(b.Isolation), strings.Compare(a.Name, b.Name))
	})
	return offered
}

// runs says whether a node takes pods of a class: its labels are those that
// the class schedules by, and its container runtime has the handler.
func runs(node corev1.Node, class nodev1.RuntimeClass) bool {
	has := OffersHandler(&node, class.Handler)
	return has && (class.Scheduling == nil || labels.SelectorFromSet(class.Scheduling.NodeSelector).Matches(labels.Set(node.Labels)))
}

func rank(i Isolation) int {
	if at := slices.Index(strength, i); at >= 0 {
		return at
	}
	return len(strength)
}

// Names are the classes' names, for messages.
func Names(classes []Class) []string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.Name
	}
	return names
}
