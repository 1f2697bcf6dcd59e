package thaw

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
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
	program := image.HelloWorld()
	if err := p.Ensure(ctx, program); err != nil {
		return nil, err
	}
	cluster, err := p.Services()
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
