// Package admission measures what policies add to the creation of a pod: the
// same dry run in a namespace that they do not concern, which is the peer, and
// in a tenant's, alone and among many.
package admission

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	suite  = "admission"
	rounds = 300
	// many is how many tenants there are in the second part, each with as many
	// network policies.
	many, policies = 1000, 10
	// most is what policies should add at most, as the median.
	most = 2 // ms
	// free is a namespace of Kubernetes' own: of all policies one looks at pods
	// there, and only whether it has anything to do.
	free   = "kube-public"
	tenant = "bench-tenant-0"
	// patience is how long the tenants may take until they are in force.
	patience = 3 * time.Minute
)

// Run measures with one tenant and with many.
func Run(ctx context.Context, p *platform.Platform) ([]measure.Result, error) {
	c, err := connect(p)
	if err != nil {
		return nil, err
	}
	var results []measure.Result
	for _, part := range []struct {
		tenants, policies int
		name              string
	}{{1, 0, "1 tenant"}, {many, policies, fmt.Sprintf("%d tenants with %d policies each", many, policies)}} {
		if err := c.ensure(ctx, part.tenants, part.policies); err != nil {
			return nil, err
		}
		more, err := c.measure(ctx, part.name)
		if err != nil {
			return nil, err
		}
		results = append(results, more...)
	}
	return results, nil
}

// cluster is the instance's API server.
type cluster struct{ client.Client }

func connect(p *platform.Platform) (*cluster, error) {
	cfg, err := kube.Config(p.Inst.Kubeconfig(), "redoubt-bench")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := redoubt.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	return &cluster{c}, err
}

// ensure makes tenants with a namespace each, which has network policies, and
// waits until all tenants are in force.
func (c *cluster) ensure(ctx context.Context, tenants, policies int) error {
	for i := range tenants {
		name := fmt.Sprintf("bench-tenant-%d", i)
		err := c.Create(ctx, &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"}})
		if client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("make tenant: %w", err)
		}
		err = c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{redoubt.TenantLabel: name}}})
		if client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("make namespace: %w", err)
		}
		for n := range policies {
			if err := c.Create(ctx, policy(name, n)); client.IgnoreAlreadyExists(err) != nil {
				return fmt.Errorf("make network policy: %w", err)
			}
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		var list redoubt.TenantList
		if err := c.List(ctx, &list); err != nil {
			return err
		}
		settled := 0
		for _, t := range list.Items {
			if len(t.Status.Namespaces) > 0 {
				settled++
			}
		}
		if settled >= tenants {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d tenants are in force after %v; see: redoubt logs controller --name bench", settled, tenants, patience)
		}
	}
}

// measure creates pods in both namespaces, in turn.
func (c *cluster) measure(ctx context.Context, part string) ([]measure.Result, error) {
	places := []string{free, tenant}
	taken := map[string][]time.Duration{}
	err := measure.Interleave(places, rounds, func(place string, record bool) error {
		began := time.Now()
		if err := c.Create(ctx, pod(place), client.DryRunAll); err != nil {
			return fmt.Errorf("create a pod: %w", err)
		}
		if record {
			taken[place] = append(taken[place], time.Since(began))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	metric := "create a pod, " + part
	results := []measure.Result{
		measure.Of(suite, "no policies", metric, "ms", measure.Milliseconds(taken[free])...),
		measure.Of(suite, "a tenant's", metric, "ms", measure.Milliseconds(taken[tenant])...),
	}
	measure.Compare(results, "no policies")
	added := measure.Of(suite, "policies", "added, "+part, "ms", results[1].P50-results[0].P50)
	added.Bar = most
	return append(results, added), nil
}

// policy lets some of a namespace's pods be reached by others of it.
func policy(namespace string, n int) *networkingv1.NetworkPolicy {
	pods := func(role string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprintf("%s-%d", role, n)}}
	}
	from := pods("client")
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("bench-%d", n)},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: pods("server"),
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &from}}}},
		},
	}
}

func pod(namespace string) *corev1.Pod {
	class := "gvisor"
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "bench-"},
		Spec: corev1.PodSpec{
			RuntimeClassName: &class,
			Containers:       []corev1.Container{{Name: "app", Image: "localhost/redoubt/pause:latest", ImagePullPolicy: corev1.PullNever}},
		},
	}
}
