// Package step measures what happens when a service that rests gets a thousand
// requests a second from one moment to the next: all must be answered, and how
// long they take is compared with the same load on an instance that runs.
package step

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	suite     = "step"
	namespace = "default"
	rate      = 1000 // requests a second
	seconds   = 5
	peer      = "running"
	// patience is how long a service may take to be as it should.
	patience = 2 * time.Minute
)

// Run measures each class that the node offers, from each state.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	classes, err := p.Classes(ctx)
	if err != nil {
		return nil, err
	}
	program := image.HelloWorld()
	if err := p.Ensure(ctx, program); err != nil {
		return nil, err
	}
	c, err := p.Services()
	if err != nil {
		return nil, err
	}
	for _, class := range classes {
		b := &bench{Client: c, p: p, service: newService(class, program.Name)}
		more, err := b.run(ctx, class)
		results = append(results, more...)
		if err := errors.Join(err, b.Delete(context.WithoutCancel(ctx), b.service)); err != nil {
			return results, fmt.Errorf("class %s: %w", class, err)
		}
	}
	return results, nil
}

func newService(class, image string) *serving.Service {
	return platform.NewService("bench-step-"+class, class, image, map[string]string{
		serving.FreezeAnnotation: "1s", serving.WindowAnnotation: "6s", serving.RetentionAnnotation: "20s", serving.MaxScaleAnnotation: "1",
	})
}

type bench struct {
	client.Client
	p       *platform.Platform
	service *serving.Service
}

// run begins with an instance that runs, waits until it is frozen, and until it
// is gone.
func (b *bench) run(ctx context.Context, class string) (results []measure.Result, err error) {
	if err := b.Create(ctx, b.service); err != nil {
		return nil, fmt.Errorf("make service: %w", err)
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	for _, state := range []struct {
		name string
		is   func([]corev1.Pod) bool
	}{
		{peer, func(pods []corev1.Pod) bool { return len(pods) > 0 && kube.PodIs(&pods[0], corev1.PodReady) }},
		{"frozen", func(pods []corev1.Pod) bool { return len(pods) == 1 && kube.PodIs(&pods[0], serving.PodFrozen) }},
		{"absent", func(pods []corev1.Pod) bool { return len(pods) == 0 }},
	} {
		if err := b.await(ctx, state.name, state.is); err != nil {
			return results, err
		}
		took, err := b.load(ctx)
		if err != nil {
			return results, fmt.Errorf("%s: %w", state.name, err)
		}
		results = append(results, measure.Of(suite, state.name, fmt.Sprintf("%s, %d requests/s at once", class, rate), "ms", measure.Milliseconds(took)...))
	}
	measure.Compare(results, peer)
	return results, nil
}

// ready waits until the service is: its route, too.
func (b *bench) ready(ctx context.Context) error {
	return b.await(ctx, "ready", func([]corev1.Pod) bool {
		err := b.Get(ctx, client.ObjectKeyFromObject(b.service), b.service)
		return err == nil && b.service.Status.Conditions.IsTrue(serving.Ready)
	})
}

func (b *bench) await(ctx context.Context, state string, is func([]corev1.Pod) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		pods, err := b.p.Cluster.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + b.service.Name})
		if err == nil && is(pods.Items) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("service %s is not %s within %v; see: redoubt logs controller --name %s", b.service.Name, state, patience, b.p.Inst.Name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// load sends requests at their times, whether those before are answered or
// not. One that is not answered with 200 is an error.
func (b *bench) load(ctx context.Context) ([]time.Duration, error) {
	gateway := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: rate}}
	defer gateway.CloseIdleConnections()
	took, failed := make([]time.Duration, rate*seconds), make([]error, rate*seconds)
	began := time.Now()
	var all sync.WaitGroup
	for i := range took {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / rate)))
		all.Go(func() {
			took[i], failed[i] = b.p.Request(ctx, gateway, namespace, b.service.Name)
		})
	}
	all.Wait()
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		return nil, fmt.Errorf("%d of %d requests failed, the first: %w", len(failed), len(took), failed[0])
	}
	return took, nil
}
