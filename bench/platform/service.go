package platform

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/kube"
)

// Ensure puts an image into the node's store.
func (p *Platform) Ensure(ctx context.Context, program image.Recipe) error {
	images, err := store.Open(ctx, p.Inst.ContainerdSocket())
	if err != nil {
		return err
	}
	defer images.Close()
	return image.Ensure(ctx, images, program, func(string) {})
}

// Services is a client that knows the kinds of serving.
func (p *Platform) Services() (client.Client, error) {
	cfg, err := kube.Config(p.Inst.Kubeconfig(), "redoubt-bench")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := serving.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(cfg, client.Options{Scheme: scheme})
}
