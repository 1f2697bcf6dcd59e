package gateway

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
)

const (
	namespace = "default"
	name      = "bench-gateway"
)

// service is what the requests are for.
type service struct {
	client   client.Client
	object   *serving.Service
	host     string
	instance string // address of its one instance
}

// deploy makes a service that keeps one instance, and waits for that.
func deploy(ctx context.Context, p *platform.Platform) (*service, error) {
	program := image.HelloWorld()
	if err := p.Ensure(ctx, program); err != nil {
		return nil, err
	}
	client, err := p.Services()
	if err != nil {
		return nil, err
	}
	s := &service{client: client, host: name + "." + namespace + ".localhost", object: newService(program.Name)}
	if err := s.client.Create(ctx, s.object); err != nil {
		return nil, fmt.Errorf("make service: %w", err)
	}
	if s.instance, err = instanceOf(ctx, p); err != nil {
		s.remove()
		return nil, err
	}
	if err := reachable(ctx, p.Inst.NetNS(), s.instance); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func newService(image string) *serving.Service {
	// Where the sandbox takes least, the gateway shows most.
	return platform.NewService(name, "runc", image, map[string]string{serving.MinScaleAnnotation: "1", serving.MaxScaleAnnotation: "1"})
}

// instanceOf waits until the service's pod has an address.
func instanceOf(ctx context.Context, p *platform.Platform) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		pods, err := p.Cluster.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + name})
		if err != nil {
			return "", fmt.Errorf("find the service's pod: %w", err)
		}
		if len(pods.Items) == 1 && pods.Items[0].Status.PodIP != "" {
			return net.JoinHostPort(pods.Items[0].Status.PodIP, strconv.Itoa(serving.DefaultPort)), nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("service %s has no instance within %v; see: redoubt logs controller --name %s", name, patience, p.Inst.Name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *service) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = s.client.Delete(ctx, s.object)
}
