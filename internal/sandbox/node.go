package sandbox

import (
	corev1 "k8s.io/api/core/v1"
)

// NodePrefix and a handler's name make the label of the nodes that can run it.
// It lies in the domain that the NodeRestriction admission plugin keeps from
// kubelets: a node that was broken into cannot draw pods to itself by claiming
// a sandbox that it has not.
const NodePrefix = "redoubt.node-restriction.kubernetes.io/"

// NodeIsolation is the label in which a node says how a handler isolates on
// it, where that differs from node to node.
func NodeIsolation(handler string) string { return NodePrefix + handler + ".isolation" }

// AcceleratorAnnotation on a node says what its virtual machines run under,
// and why.
const AcceleratorAnnotation = "redoubt.dev/microvm-accelerator"

// Weakest is how a handler isolates on the weakest of the nodes that offer it,
// and false where no node says. A node that offers it without saying is taken
// for the weakest that says.
func Weakest(handler string, nodes []map[string]string) (Isolation, bool) {
	weakest, found := VM, false
	for _, labels := range nodes {
		if labels[NodePrefix+handler] != "true" {
			continue
		}
		isolation, ok := labels[NodeIsolation(handler)]
		found = found || ok
		if Isolation(isolation) != VM {
			weakest = EmulatedVM
		}
	}
	return weakest, found
}

// OffersHandler says whether a node's container runtime has a handler.
func OffersHandler(node *corev1.Node, handler string) bool {
	for _, h := range node.Status.RuntimeHandlers {
		if h.Name == handler {
			return true
		}
	}
	return false
}
