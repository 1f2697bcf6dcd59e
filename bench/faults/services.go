package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	steady, resting = "bench-faults-steady", "bench-faults-resting"
	class           = "runc"
	// pace is the time between two requests of the load.
	pace = 10 * time.Millisecond
	// single bounds one request, patience all that has to come in the end.
	single, patience = 10 * time.Second, 2 * time.Minute
)

// absent names a service without an instance; each is asked once.
func absent(round int, process string) string {
	return fmt.Sprintf("bench-faults-%d-%s", round, process)
}

// services are one that always runs, one that is frozen, and those that are
// not there yet.
type services struct {
	client.Client
	platform *platform.Platform
	image    string
	made     []*serving.Service
	gateway  *http.Client
}

func deploy(ctx context.Context, p *platform.Platform) (*services, error) {
	program := image.HelloWorld()
	if err := p.Ensure(ctx, program); err != nil {
		return nil, err
	}
	c, err := p.Services()
	if err != nil {
		return nil, err
	}
	s := &services{Client: c, platform: p, image: program.Name, gateway: &http.Client{Timeout: single}}
	for name, freeze := range map[string]string{steady: serving.FreezeNever, resting: "1s"} {
		if err := s.make(ctx, name, map[string]string{serving.MinScaleAnnotation: "1", serving.FreezeAnnotation: freeze}); err != nil {
			return nil, errors.Join(err, s.remove())
		}
	}
	return s, nil
}

// make makes a service and waits until it is ready.
func (s *services) make(ctx context.Context, name string, annotations map[string]string) error {
	service := platform.NewService(name, class, s.image, annotations)
	if err := s.Create(ctx, service); err != nil {
		return fmt.Errorf("make service: %w", err)
	}
	s.made = append(s.made, service)
	return s.await(ctx, name+" is not ready", func() bool {
		return s.Get(ctx, client.ObjectKeyFromObject(service), service) == nil && service.Status.Conditions.IsTrue(serving.Ready)
	})
}

func (s *services) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, service := range s.made {
		errs = append(errs, client.IgnoreNotFound(s.Delete(ctx, service)))
	}
	return errors.Join(errs...)
}

// rest makes the service that is asked for its first instance next, and waits
// until the other's is frozen.
func (s *services) rest(ctx context.Context, round int, process string) error {
	if err := s.make(ctx, absent(round, process), map[string]string{serving.InitialScaleAnnotation: "0"}); err != nil {
		return err
	}
	return s.await(ctx, resting+" is not frozen", func() bool {
		pods, err := s.platform.Cluster.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + resting})
		return err == nil && len(pods.Items) == 1 && kube.PodIs(&pods.Items[0], serving.PodFrozen)
	})
}

func (s *services) await(ctx context.Context, otherwise string, is func() bool) error {
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%s within %v; see: redoubt logs controller --name %s", otherwise, patience, s.platform.Inst.Name)
		}
	}
	return nil
}

// load sends requests at their times, whether those before are answered or
// not, and returns how many failed.
func (s *services) load(ctx context.Context, name string) int {
	var failed atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range length / pace {
		time.Sleep(time.Until(began.Add(i * pace)))
		all.Go(func() {
			if s.ask(ctx, name) != nil {
				failed.Add(1)
			}
		})
	}
	all.Wait()
	return int(failed.Load())
}

// answers asks until it is answered, and returns how long after began that was.
func (s *services) answers(ctx context.Context, name string, began time.Time) (time.Duration, error) {
	err := s.await(ctx, name+" does not answer", func() bool { return s.ask(ctx, name) == nil })
	return time.Since(began), err
}

func (s *services) ask(ctx context.Context, name string) error {
	_, err := s.platform.Request(ctx, s.gateway, metav1.NamespaceDefault, name)
	return err
}
