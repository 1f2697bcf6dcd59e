package node

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// LabelPrefix and a handler's name make the label of the nodes that can run
// it. It lies in the domain that the NodeRestriction admission plugin keeps
// from kubelets: a node that was broken into cannot draw pods to itself by
// claiming a sandbox that it has not.
const LabelPrefix = "redoubt.node-restriction.kubernetes.io/"

// offered is the value of such a label.
const offered = "true"

// changes are the labels to set, and those to remove (nil), so that the
// node's labels name what its container runtime reports. A merge patch (RFC
// 7386) takes them as they are.
func changes(node *corev1.Node) map[string]*string {
	wanted := map[string]bool{}
	for _, h := range node.Status.RuntimeHandlers {
		// The handler without a name is the default one, known by its own too.
		if h.Name != "" && len(validation.IsValidLabelValue(h.Name)) == 0 {
			wanted[LabelPrefix+h.Name] = true
		}
	}
	patch := map[string]*string{}
	for key := range wanted {
		if node.Labels[key] != offered {
			value := offered
			patch[key] = &value
		}
	}
	for key := range node.Labels {
		if strings.HasPrefix(key, LabelPrefix) && !wanted[key] {
			patch[key] = nil
		}
	}
	return patch
}
