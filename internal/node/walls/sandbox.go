package walls

import (
	"net/netip"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// sandbox is a pod's that runs on this node, as the container runtime knows it.
type sandbox struct {
	uid       types.UID
	namespace string
	// labels are those that the pod was made with: all that is known of it until
	// the API server has told more.
	labels  labels.Set
	address netip.Addr
}

// sandboxOf returns what is known of a sandbox; none where it has no address of
// a pod.
func (w *Walls) sandboxOf(pod *api.PodSandbox) (sandbox, bool) {
	for _, text := range pod.Ips {
		if address, err := netip.ParseAddr(text); err == nil && w.opts.PodRange.Contains(address) {
			return sandbox{uid: types.UID(pod.Uid), namespace: pod.Namespace, labels: pod.Labels, address: address}, true
		}
	}
	return sandbox{}, false
}
