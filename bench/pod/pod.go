// Package pod measures how long a pod takes from the API call that makes it
// until it answers its first HTTP request, in every class of the node. The
// peer is runc.
package pod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
)

const (
	suite     = "pod"
	namespace = "default"
	rounds    = 8
	peer      = "runc"
	port      = "8080"
	// patience is how long one pod may take.
	patience = time.Minute
)

// server is the image that answers HTTP requests.
var server = image.HelloWorld()

// Run measures every class.
func Run(ctx context.Context, p *platform.Platform) ([]measure.Result, error) {
	if err := p.Ensure(ctx, server); err != nil {
		return nil, err
	}
	classes, err := p.Classes(ctx)
	if err != nil {
		return nil, err
	}
	taken := map[string][]time.Duration{}
	err = measure.Interleave(classes, rounds, func(class string, record bool) error {
		took, err := once(ctx, p, class)
		if err == nil && record {
			taken[class] = append(taken[class], took)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var results []measure.Result
	for _, class := range classes {
		results = append(results, measure.Of(suite, class, "API call to first answer", "ms", measure.Milliseconds(taken[class])...))
	}
	measure.Compare(results, peer)
	return results, nil
}

// once makes a pod, waits for its answer and removes it.
func once(ctx context.Context, p *platform.Platform, class string) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pods := p.Cluster.CoreV1().Pods(namespace)
	began := time.Now()
	made, err := pods.Create(ctx, platform.NewPod(class, server.Name), metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("make pod: %w", err)
	}
	defer func() { err = errors.Join(err, remove(ctx, p, made.Name)) }()
	ip, err := address(ctx, p, made)
	if err != nil {
		return 0, err
	}
	if err := answer(ctx, p.Inside(), net.JoinHostPort(ip, port)); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// address waits until the pod has one.
func address(ctx context.Context, p *platform.Platform, pod *corev1.Pod) (string, error) {
	watch, err := p.Cluster.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", pod.Name).String(),
		ResourceVersion: pod.ResourceVersion,
	})
	if err != nil {
		return "", fmt.Errorf("watch pod: %w", err)
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		if now, ok := event.Object.(*corev1.Pod); ok && now.Status.PodIP != "" {
			return now.Status.PodIP, nil
		}
	}
	return "", fmt.Errorf("pod %s has no address within %v; see its events", pod.Name, patience)
}

// answer asks until the server inside does.
func answer(ctx context.Context, client *http.Client, address string) error {
	const pause = 2 * time.Millisecond
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer from %s within %v: %w", address, patience, err)
		case <-time.After(pause):
		}
	}
}

// remove waits until the pod is gone, so that its end is not in the next
// one's time.
func remove(ctx context.Context, p *platform.Platform, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	pods := p.Cluster.CoreV1().Pods(namespace)
	watch, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		return err
	}
	defer watch.Stop()
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("remove pod: %w", err)
	}
	for event := range watch.ResultChan() {
		if event.Type == "DELETED" {
			return nil
		}
	}
	return fmt.Errorf("pod %s does not end", name)
}
