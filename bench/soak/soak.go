// Package soak makes and ends many pods in parallel batches, in every class, and
// counts what they leave on the node. The first batch is not counted: some things
// come with the first pods, for all.
package soak

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/test/residue"
)

const (
	suite     = "soak"
	namespace = "default"
	pods      = 200
	batch     = 20
	label     = "bench=soak"
	// patience is how long one batch may take, pause how often is looked.
	patience, pause = 5 * time.Minute, 100 * time.Millisecond
)

// Run measures every class.
func Run(ctx context.Context, p *platform.Platform) ([]measure.Result, error) {
	classes, err := p.Classes(ctx)
	if err != nil {
		return nil, err
	}
	var results []measure.Result
	for _, class := range classes {
		more, err := soak(ctx, p, class)
		results = append(results, more...)
		if err != nil {
			return results, fmt.Errorf("class %s: %w", class, err)
		}
	}
	return results, nil
}

func soak(ctx context.Context, p *platform.Platform, class string) ([]measure.Result, error) {
	if _, err := comeAndGo(ctx, p, class); err != nil {
		return nil, err
	}
	before, err := residue.Of(p.Inst)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for range pods / batch {
		one, err := comeAndGo(ctx, p, class)
		if err != nil {
			return nil, err
		}
		took = append(took, one)
	}
	left, err := leftSince(ctx, p, before)
	if err != nil {
		return nil, err
	}
	results := []measure.Result{measure.Of(suite, class, fmt.Sprintf("%d pods come and go", batch), "ms", measure.Milliseconds(took)...)}
	for _, kind := range slices.Sorted(maps.Keys(left)) {
		results = append(results, measure.Of(suite, class, fmt.Sprintf("%s left by %d pods", kind, pods), "", float64(left[kind])))
		if left[kind] > 0 {
			err = fmt.Errorf("%d pods left %v", pods, left)
		}
	}
	return results, err
}

// comeAndGo makes a batch at once, waits until all run, and ends it at once.
func comeAndGo(ctx context.Context, p *platform.Platform, class string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, began := p.Cluster.CoreV1().Pods(namespace), time.Now()
	var making errgroup.Group
	for range batch {
		making.Go(func() error {
			_, err := client.Create(ctx, newPod(class), metav1.CreateOptions{})
			return err
		})
	}
	if err := making.Wait(); err != nil {
		return 0, fmt.Errorf("make pods: %w", err)
	}
	if err := await(ctx, p, func(list []corev1.Pod) bool {
		return !slices.ContainsFunc(list, func(pod corev1.Pod) bool { return pod.Status.Phase != corev1.PodRunning })
	}); err != nil {
		return 0, fmt.Errorf("pods start: %w", err)
	}
	if err := client.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: label}); err != nil {
		return 0, fmt.Errorf("end pods: %w", err)
	}
	if err := await(ctx, p, func(list []corev1.Pod) bool { return len(list) == 0 }); err != nil {
		return 0, fmt.Errorf("pods end: %w", err)
	}
	return time.Since(began), nil
}

func await(ctx context.Context, p *platform.Platform, done func([]corev1.Pod) bool) error {
	return wait.PollUntilContextCancel(ctx, pause, true, func(ctx context.Context) (bool, error) {
		list, err := p.Cluster.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return false, err
		}
		return done(list.Items), nil
	})
}

// leftSince waits, with patience, until no more is there than before, and
// answers with what is.
func leftSince(ctx context.Context, p *platform.Platform, before map[string]int) (map[string]int, error) {
	left, deadline := map[string]int{}, time.Now().Add(patience)
	for {
		now, err := residue.Of(p.Inst)
		if err != nil {
			return nil, err
		}
		sum := 0
		for kind, n := range now {
			left[kind] = max(0, n-before[kind])
			sum += left[kind]
		}
		if sum == 0 || time.Now().After(deadline) {
			return left, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func newPod(class string) *corev1.Pod {
	no, grace := false, int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "soak-", Labels: map[string]string{"bench": "soak"}},
		Spec: corev1.PodSpec{
			RuntimeClassName:              &class,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{{Name: "idle", Image: cluster.PauseImage, ImagePullPolicy: corev1.PullNever}},
		},
	}
}
