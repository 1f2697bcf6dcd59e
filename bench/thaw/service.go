package thaw

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/kube"
)

const namespace = "default"

func name(class string) string { return "bench-thaw-" + class }

// services are one of each class.
type services struct {
	cluster client.Client
	objects []*serving.Service
}

// deploy makes services that keep an instance, which is frozen when it has been
// idle for a second.
func deploy(ctx context.Context, p *platform.Platform, classes []string) (*services, error) {
	images, err := store.Open(ctx, p.Inst.ContainerdSocket())
	if err != nil {
		return nil, err
	}
	defer images.Close()
	program := image.HelloWorld()
	if err := image.Ensure(ctx, images, program, func(string) {}); err != nil {
		return nil, err
	}
	cfg, err := kube.Config(p.Inst.Kubeconfig(), "redoubt-bench")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := serving.AddToScheme(scheme); err != nil {
		return nil, err
	}
	cluster, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	s := &services{cluster: cluster}
	for _, class := range classes {
		object := newService(class, program.Name)
		if err := cluster.Create(ctx, object); err != nil {
			return nil, errors.Join(fmt.Errorf("make service: %w", err), s.remove())
		}
		s.objects = append(s.objects, object)
	}
	return s, nil
}

func newService(class, image string) *serving.Service {
	s := &serving.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name(class)}}
	s.Spec.Template.Annotations = map[string]string{
		serving.MinScaleAnnotation: "1", serving.MaxScaleAnnotation: "1", serving.FreezeAnnotation: "1s",
	}
	s.Spec.Template.Spec.RuntimeClassName = &class
	s.Spec.Template.Spec.Containers = []serving.Container{{Image: image, ImagePullPolicy: corev1.PullNever}}
	return s
}

func (s *services) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, object := range s.objects {
		errs = append(errs, s.cluster.Delete(ctx, object))
	}
	return errors.Join(errs...)
}
