package measure

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/internal/probe"
)

// Start is the name of how long a pod takes from the call that makes it until its
// program runs, as the clocks here and in the pod say: the median of starts.
const Start = "start ms"

const starts = 3

// beside measures a class with a pod that serves: what can be done to it, and how
// fast pods are. Nothing else is measured meanwhile.
func (p Probe) beside(ctx context.Context, class string, node *corev1.Node, m *Measured) error {
	peer, refused, err := p.start(ctx, server(class, node.Name, p.Image), serves)
	if err = must(refused, err); err != nil {
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

// figures has pods measure, one after the other, beside one that serves. What is
// counted is the same in each; of speeds the best counts, of starts the median.
func (p Probe) figures(ctx context.Context, class, node, address string) (map[string]float64, error) {
	best, took := map[string]float64{}, make([]time.Duration, 0, starts)
	for range starts {
		pod := pod(class, node, p.Image)
		pod.Spec.Containers[0].Args = []string{probe.Speeds, address}
		asked := time.Now()
		report, refused, err := p.run(ctx, pod)
		if err = must(refused, err); err != nil {
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
