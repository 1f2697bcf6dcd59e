package thaw

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
)

const namespace = "default"

func name(class string) string { return "bench-thaw-" + class }

// awake ends the name of a service that is never frozen.
const awake = "-awake"

// services are two of each class: one that is frozen when idle, one that is not.
type services struct {
	cluster client.Client
	objects []*serving.Service
}

// deploy makes services that keep an instance.
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
		for _, object := range []*serving.Service{
			newService(name(class), class, program.Name, "1s"),
			newService(name(class)+awake, class, program.Name, serving.FreezeNever),
		} {
			if err := cluster.Create(ctx, object); err != nil {
				return nil, errors.Join(fmt.Errorf("make service: %w", err), s.remove())
			}
			s.objects = append(s.objects, object)
		}
	}
	return s, nil
}

func newService(name, class, image, freeze string) *serving.Service {
	return platform.NewService(name, class, image, map[string]string{
		serving.MinScaleAnnotation: "1", serving.MaxScaleAnnotation: "1", serving.FreezeAnnotation: freeze,
	})
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
