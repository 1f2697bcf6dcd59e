package walls

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/node/walls/policy"
)

// The services that tenants reach: what a program in a cluster expects.
var open = map[string]string{metav1.NamespaceDefault: "kubernetes", metav1.NamespaceSystem: "kube-dns"}

// never are addresses outside the cluster that no tenant reaches: link-local
// ones (RFC 3927), where clouds answer with the machine's credentials, and those
// that some clouds use instead.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("192.0.0.192/32"),
}

// facts are what rules follow from, kept up to date.
type facts struct {
	opts  *Options
	known cache.Cache
}

func newFacts(cfg *rest.Config, opts *Options) (*facts, error) {
	services := map[string]cache.Config{}
	for namespace, name := range open {
		services[namespace] = cache.Config{FieldSelector: fields.OneTermEqualSelector("metadata.name", name)}
	}
	all := true // nobody here changes what the cache holds
	known, err := cache.New(cfg, cache.Options{
		Scheme:                       clientgoscheme.Scheme,
		DefaultTransform:             cache.TransformStripManagedFields(),
		DefaultUnsafeDisableDeepCopy: &all,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:     {Transform: stripPod},
			&corev1.Node{}:    {Transform: stripNode},
			&corev1.Service{}: {Namespaces: services},
		},
	})
	return &facts{opts: opts, known: known}, err
}

// follow fills the cache and calls changed at whatever may change a rule, until
// ctx ends; what does so is one of parts.
func (f *facts) follow(ctx context.Context, parts *sync.WaitGroup, changed func()) error {
	kinds := []client.Object{&corev1.Pod{}, kube.Metadata("Namespace"), &networkingv1.NetworkPolicy{}, &corev1.Node{}, &corev1.Service{}}
	return kube.Follow(ctx, f.known, parts, kinds, news, changed)
}

// await waits until a namespace is known: whose it is decides what its pods
// reach.
func (f *facts) await(ctx context.Context, name string) error {
	const limit = 5 * time.Second
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		return f.known.Get(ctx, client.ObjectKey{Name: name}, kube.Metadata("Namespace")) == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the namespace %q is not known: %w", name, err)
	}
	return nil
}

// cluster is what rules follow from now. This node's own pods are those that
// its container runtime runs; others are where the API server says.
func (f *facts) cluster(ctx context.Context, sandboxes map[string]sandbox) (*policy.Cluster, error) {
	var pods corev1.PodList
	var policies networkingv1.NetworkPolicyList
	var services corev1.ServiceList
	var nodes corev1.NodeList
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := errors.Join(f.known.List(ctx, &pods), f.known.List(ctx, &policies), f.known.List(ctx, &services),
		f.known.List(ctx, &nodes), f.known.List(ctx, namespaces)); err != nil {
		return nil, err
	}
	c := &policy.Cluster{
		Namespaces: map[string]labels.Set{},
		PodRange:   f.opts.PodRange,
		Pods:       f.pods(pods.Items, sandboxes),
		Closed:     slices.Concat([]netip.Prefix{f.opts.PodRange}, f.opts.Inside, never, addresses(nodes.Items)),
		Open:       servicesOf(services.Items),
		Gateway:    f.opts.Gateway,
	}
	for _, ns := range namespaces.Items {
		c.Namespaces[ns.Name] = ns.Labels
	}
	for i := range policies.Items {
		c.Policies = append(c.Policies, &policies.Items[i])
	}
	return c, nil
}

func (f *facts) pods(known []corev1.Pod, sandboxes map[string]sandbox) []policy.Pod {
	var all []policy.Pod
	byUID := map[types.UID]*corev1.Pod{}
	for i := range known {
		pod := &known[i]
		byUID[pod.UID] = pod
		if address, ok := elsewhere(pod, f.opts.NodeName); ok {
			all = append(all, policy.Pod{Namespace: pod.Namespace, Labels: pod.Labels, Ports: portsOf(pod), Address: address})
		}
	}
	for _, s := range sandboxes {
		pod := policy.Pod{Namespace: s.namespace, Labels: s.labels, Address: s.address, Local: true}
		if told := byUID[s.uid]; told != nil {
			pod.Labels, pod.Ports = told.Labels, portsOf(told)
		}
		all = append(all, pod)
	}
	return all
}

// elsewhere is the address of a pod of another node.
func elsewhere(pod *corev1.Pod, node string) (netip.Addr, bool) {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if pod.Spec.NodeName == node || pod.Spec.HostNetwork || ended {
		return netip.Addr{}, false
	}
	address, err := netip.ParseAddr(pod.Status.PodIP)
	return address, err == nil && address.Is4()
}

// portsOf are the ports that policies may name: containers', and those of init
// containers that run on.
func portsOf(pod *corev1.Pod) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for _, c := range pod.Spec.Containers {
		ports = append(ports, c.Ports...)
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			ports = append(ports, c.Ports...)
		}
	}
	return slices.DeleteFunc(ports, func(p corev1.ContainerPort) bool { return p.Name == "" })
}

func addresses(nodes []corev1.Node) []netip.Prefix {
	var all []netip.Prefix
	for _, node := range nodes {
		for _, a := range node.Status.Addresses {
			if address, err := netip.ParseAddr(a.Address); err == nil && address.Is4() {
				all = append(all, netip.PrefixFrom(address, address.BitLen()))
			}
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

func servicesOf(list []corev1.Service) []policy.Service {
	var all []policy.Service
	for _, s := range list {
		if address, err := netip.ParseAddr(s.Spec.ClusterIP); err == nil && address.Is4() {
			all = append(all, policy.Service{Namespace: s.Namespace, Labels: s.Labels, Address: address, Ports: s.Spec.Ports, NoPods: len(s.Spec.Selector) == 0})
		}
	}
	slices.SortFunc(all, func(a, b policy.Service) int { return a.Address.Compare(b.Address) })
	return all
}

// news says whether an update may change a rule: a kubelet tells much that
// does not.
func news(before, after client.Object) bool {
	switch after := after.(type) {
	case *corev1.Pod:
		before := before.(*corev1.Pod)
		return before.Status.PodIP != after.Status.PodIP || before.Status.Phase != after.Status.Phase ||
			before.Spec.NodeName != after.Spec.NodeName || !equality.Semantic.DeepEqual(before.Labels, after.Labels)
	case *corev1.Node:
		return !equality.Semantic.DeepEqual(before.(*corev1.Node).Status.Addresses, after.Status.Addresses)
	case *corev1.Service:
		return !equality.Semantic.DeepEqual(before.(*corev1.Service).Spec, after.Spec) || !equality.Semantic.DeepEqual(before.GetLabels(), after.Labels)
	}
	return before.GetGeneration() != after.GetGeneration() || !equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels())
}

// stripPod keeps of a pod what rules follow from.
func stripPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	slim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Labels: pod.Labels, ResourceVersion: pod.ResourceVersion},
		Spec:       corev1.PodSpec{NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork},
		Status:     corev1.PodStatus{PodIP: pod.Status.PodIP, Phase: pod.Status.Phase},
	}
	if ports := portsOf(pod); len(ports) > 0 {
		slim.Spec.Containers = []corev1.Container{{Ports: ports}}
	}
	return slim, nil
}

// stripNode keeps of a node its addresses.
func stripNode(o any) (any, error) {
	node, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion},
		Status:     corev1.NodeStatus{Addresses: node.Status.Addresses},
	}, nil
}
