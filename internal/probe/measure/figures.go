package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"redoubt.dev/redoubt/internal/probe"
)

// Start is the name of how long a pod takes from the call that makes it until its
// program runs, as the clocks here and in the pod say: the median of starts.
const Start = "start ms"

const starts = 3

// beside measures a class with a pod that serves: what can be done to it, and how
// fast pods are. Nothing else is measured meanwhile.
func (p Probe) beside(ctx context.Context, class string, node *corev1.Node, m *Measured) error {
	peer, refused, err := p.serve(ctx, server(class, node.Name, p.Image))
	if err == nil && refused != "" {
		err = errors.New(refused)
	}
	if err != nil {
		return err
	}
	defer p.remove(ctx, peer)
	if m.Figures, err = p.figures(ctx, class, node.Name, peer.Status.PodIP); err != nil {
		return err
	}
	m.Verbs = p.tryVerbs(ctx, peer)
	m.Verbs[freezes], err = p.freeze(ctx, class, node)
	return err
}

// serve makes a pod, and waits until it has an address and runs.
func (p Probe) serve(ctx context.Context, pod *corev1.Pod) (now *corev1.Pod, refused string, err error) {
	pods := p.Cluster.CoreV1().Pods(Namespace)
	if now, err = pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return nil, "", err
	}
	name := now.Name
	err = wait.PollUntilContextTimeout(ctx, interval, patience, true, func(ctx context.Context) (bool, error) {
		if now, err = pods.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false, err
		}
		if now.Status.Phase == corev1.PodRunning && now.Status.PodIP != "" {
			return true, nil
		}
		refused, err = p.refusal(ctx, now, nil)
		return refused != "", err
	})
	if err != nil || refused != "" {
		p.remove(ctx, now)
	}
	return now, refused, err
}

// figures has pods measure, one after the other, beside one that serves. What is
// counted is the same in each; of speeds the best counts, of starts the median.
func (p Probe) figures(ctx context.Context, class, node, address string) (map[string]float64, error) {
	best, took := map[string]float64{}, make([]time.Duration, 0, starts)
	for range starts {
		pod := pod(class, node, p.Image)
		pod.Spec.Containers[0].Args = []string{probe.Speeds, address}
		asked := time.Now()
		report, refused, err := p.run(ctx, pod)
		if err == nil && refused != "" {
			err = errors.New(refused)
		}
		if err != nil {
			return nil, fmt.Errorf("measure speeds: %w", err)
		}
		took = append(took, report.Started.Sub(asked))
		for name, value := range report.Figures {
			best[name] = max(best[name], value)
		}
	}
	slices.Sort(took)
	best[Start] = float64(took[starts/2].Milliseconds())
	return best, nil
}
