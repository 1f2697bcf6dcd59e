package autoscale

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/serving/lending"
)

// measureEvery is how often the metrics API is asked: as often as the
// horizontal pod autoscaler does.
const measureEvery = 15 * time.Second

// measureAll asks what the instances take of each revision that is scaled by
// that. A revision that cannot be measured keeps its scale, and an event says
// why.
func (s *Scaler) measureAll(ctx context.Context, revisions []serving.Revision, now time.Time) {
	if now.Sub(s.measured) < measureEvery {
		return
	}
	s.measured = now
	for i := range revisions {
		rev := &revisions[i]
		settings, err := SettingsOf(rev)
		if err != nil || !settings.Metric.Resource() || rev.Status.ActualReplicas == nil || *rev.Status.ActualReplicas == 0 {
			continue
		}
		use, err := s.measure(ctx, rev, settings.Metric)
		if err != nil {
			s.Events.Eventf(rev, nil, corev1.EventTypeWarning, "FailedGetResourceMetric", "Scale", "%v", err)
			continue
		}
		use.At = now
		s.mu.Lock()
		s.tracker(client.ObjectKeyFromObject(rev), now).Measured(use)
		s.mu.Unlock()
	}
}

// measure adds up what the metrics API says of a revision's pods.
func (s *Scaler) measure(ctx context.Context, rev *serving.Revision, metric Metric) (Use, error) {
	of := []client.ListOption{client.InNamespace(rev.Namespace), client.MatchingLabels{serving.RevisionUIDLabel: string(rev.UID)}}
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, of...); err != nil {
		return Use{}, err
	}
	requests := map[types.NamespacedName]int64{}
	for i := range pods.Items {
		requests[client.ObjectKeyFromObject(&pods.Items[i])] = lending.Asks(&pods.Items[i])
	}
	metrics := &unstructured.UnstructuredList{}
	metrics.SetGroupVersionKind(kube.PodMetrics.GroupVersion().WithKind(kube.PodMetrics.Kind + "List"))
	if err := s.Client.List(ctx, metrics, of...); err != nil {
		return Use{}, fmt.Errorf("the scale stays, as the cluster's metrics cannot be read: %w", err)
	}
	var use Use
	for i := range metrics.Items {
		millis, known := requests[client.ObjectKeyFromObject(&metrics.Items[i])]
		if !known {
			continue // it has ended
		}
		if metric == CPUUse && millis == 0 {
			return Use{}, errors.New("the scale stays, as the metric cpu is a share of what a container asks for: set spec.template.spec.containers[].resources.requests.cpu")
		}
		used := kube.Usage(&metrics.Items[i], corev1.ResourceName(metric))
		if metric == CPUUse {
			use.Total += float64(used.MilliValue()) * 100 / float64(millis)
		} else {
			use.Total += float64(used.Value()) / (1 << 20)
		}
		use.Measured++
	}
	return use, nil
}
