package node

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"redoubt.dev/redoubt/internal/sandbox"
)

// offered is the value of such a label.
const offered = "true"

// changes are the labels to set, and those to remove (nil), so that the
// node's labels name what its container runtime reports, and how its virtual
// machines isolate if that is known. A merge patch (RFC 7386) takes them as
// they are.
func changes(node *corev1.Node, machines string) map[string]*string {
	wanted := map[string]string{}
	for _, h := range node.Status.RuntimeHandlers {
		// The handler without a name is the default one, known by its own too.
		if h.Name != "" && len(validation.IsValidLabelValue(h.Name)) == 0 {
			wanted[sandbox.NodePrefix+h.Name] = offered
		}
		if h.Name == microVM && machines != "" {
			wanted[sandbox.NodeIsolation(microVM)] = machines
		}
	}
	patch := map[string]*string{}
	for key, value := range wanted {
		if node.Labels[key] != value {
			patch[key] = &value
		}
	}
	for key := range node.Labels {
		if strings.HasPrefix(key, sandbox.NodePrefix) && wanted[key] == "" {
			patch[key] = nil
		}
	}
	return patch
}
