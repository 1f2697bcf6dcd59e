package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/sandbox"
)

// facts are what a verdict follows from, kept up to date.
type facts struct {
	node string
	// learned is the handler of Options.
	learned string
	known   cache.Cache
	// live asks the API server about what is not known yet.
	live client.Reader
}

func newFacts(cfg *rest.Config, opts Options) (*facts, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), redoubt.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	known, err := cache.New(cfg, cache.Options{
		Scheme:           scheme,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{&corev1.Node{}: {Field: fields.OneTermEqualSelector("metadata.name", opts.NodeName)}},
	})
	if err != nil {
		return nil, err
	}
	live, err := client.New(cfg, client.Options{Scheme: scheme})
	return &facts{node: opts.NodeName, learned: opts.Learned, known: known, live: live}, err
}

// follow fills the cache and calls changed at whatever may change a verdict,
// until ctx ends; what does so is one of parts.
func (f *facts) follow(ctx context.Context, parts *sync.WaitGroup, changed func()) error {
	kinds := []client.Object{&redoubt.Tenant{}, &nodev1.RuntimeClass{}, kube.Metadata("Namespace"), kube.Metadata("Node")}
	return kube.Follow(ctx, f.known, parts, kinds, differs, changed)
}

// differs leaves out what is no news, such as a kubelet's sign of life.
func differs(before, after client.Object) bool {
	if before.GetGeneration() != after.GetGeneration() {
		return true
	}
	labels := after.GetLabels()
	for key, value := range before.GetLabels() {
		if labels[key] != value {
			return true
		}
	}
	return len(labels) != len(before.GetLabels())
}

// result is how a sandbox stands to its tenant's floor.
type result int

const (
	keeps   result = iota // at or above it, or nobody's
	below                 // surely below it
	unknown               // nobody can say
)

// verdict is a result and, unless the floor is kept, a sentence for people.
type verdict struct {
	result result
	why    string
}

// judge says how a sandbox of the handler in the namespace stands to its floor.
func (f *facts) judge(ctx context.Context, namespace, handler string) verdict {
	name, err := f.tenant(ctx, namespace)
	if err != nil {
		return verdict{unknown, fmt.Sprintf("whether the namespace %q has a tenant cannot be found out: %v", namespace, err)}
	}
	if name == "" {
		return verdict{}
	}
	var tenant redoubt.Tenant
	if err := f.read(ctx, name, &tenant); err != nil {
		return verdict{unknown, fmt.Sprintf("the floor of the tenant %q is not known: %v", name, err)}
	}
	var list nodev1.RuntimeClassList
	node := kube.Metadata("Node")
	if err := errors.Join(f.known.List(ctx, &list), f.read(ctx, f.node, node)); err != nil {
		return verdict{unknown, fmt.Sprintf("how the handler %q isolates is not known: %v", handler, err)}
	}
	isolation := sandbox.HandlerIsolation(handler, list.Items, []map[string]string{node.Labels})
	v := weigh(&tenant, handler, isolation)
	if _, said := node.Labels[sandbox.NodeIsolation(handler)]; v.result == below && handler == f.learned && !said {
		// It counts as the weakest that it may be. That is no reason to stop what runs.
		return verdict{unknown, fmt.Sprintf("how the handler %q isolates on this node is not known yet; the tenant %q asks for %q", handler, name, tenant.Spec.Floor)}
	}
	return v
}

// weigh holds an isolation against a tenant's floor.
func weigh(tenant *redoubt.Tenant, handler string, isolation sandbox.Isolation) verdict {
	switch {
	case sandbox.FloorOf(&tenant.Spec).Admits(isolation):
		return verdict{}
	case isolation == "":
		return verdict{unknown, fmt.Sprintf("how the handler %q isolates is not known: no RuntimeClass of it says so; the tenant %q asks for %q", handler, tenant.Name, tenant.Spec.Floor)}
	}
	return verdict{below, fmt.Sprintf("the handler %q isolates as %q, below the floor %q of the tenant %q; name a class that is open to it", handler, isolation, tenant.Spec.Floor, tenant.Name)}
}

// tenant is the name of a namespace's tenant, empty where it has none.
func (f *facts) tenant(ctx context.Context, namespace string) (string, error) {
	ns := kube.Metadata("Namespace")
	if err := f.read(ctx, namespace, ns); err != nil {
		return "", err
	}
	return ns.Labels[redoubt.TenantLabel], nil
}

// read reads what is known, and asks the API server for what is not yet.
func (f *facts) read(ctx context.Context, name string, obj client.Object) error {
	key := client.ObjectKey{Name: name}
	err := f.known.Get(ctx, key, obj)
	if apierrors.IsNotFound(err) {
		err = f.live.Get(ctx, key, obj)
	}
	return err
}
