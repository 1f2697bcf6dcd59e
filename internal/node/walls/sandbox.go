package walls

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/containerd/nri/pkg/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
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

// running are the sandboxes that run on this node and have an address of a pod.
func (w *Walls) running(ctx context.Context) (map[string]sandbox, error) {
	list, err := w.runtime.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{
		Filter: &runtime.PodSandboxFilter{State: &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_READY}},
	})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	all := map[string]sandbox{}
	for _, item := range list.Items {
		answer, err := w.runtime.PodSandboxStatus(ctx, &runtime.PodSandboxStatusRequest{PodSandboxId: item.Id})
		if status.Code(err) == codes.NotFound {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("look at sandbox %s: %w", item.Id, err)
		}
		address, err := netip.ParseAddr(answer.Status.GetNetwork().GetIp())
		if err == nil && w.opts.PodRange.Contains(address) {
			all[item.Id] = sandbox{uid: types.UID(item.Metadata.Uid), namespace: item.Metadata.Namespace, labels: item.Labels, address: address}
		}
	}
	return all, nil
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
