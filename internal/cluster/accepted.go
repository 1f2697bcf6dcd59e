package cluster

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// servicesAccepted waits until a user could create a service. The API server
// learns the schema of a new kind, which its mutating policies need, up to
// five seconds after it serves the kind, and refuses objects until then.
func (b *boot) servicesAccepted(ctx context.Context) error {
	cfg, err := b.adminConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	probe := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": serving.GroupVersion.String(),
		"kind":       "Service",
		"metadata":   map[string]any{"name": "redoubt-probe"},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"image": PauseImage}},
		}}},
	}}
	services := client.Resource(serving.GroupVersion.WithResource("services")).Namespace(metav1.NamespaceDefault)
	return poll(ctx, func() error {
		_, err := services.Create(ctx, probe.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}
