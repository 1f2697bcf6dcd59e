package autoscale

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
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
		requests[client.ObjectKeyFromObject(&pods.Items[i])] = requestedMillis(&pods.Items[i])
	}
	metrics := &unstructured.UnstructuredList{}
	metrics.SetGroupVersionKind(schema.GroupVersionKind{Group: "metrics.k8s.io", Version: "v1beta1", Kind: "PodMetricsList"})
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
		used := usage(&metrics.Items[i], string(metric))
		if metric == CPUUse {
			use.Total += float64(used.MilliValue()) * 100 / float64(millis)
		} else {
			use.Total += float64(used.Value()) / (1 << 20)
		}
		use.Measured++
	}
	return use, nil
}

func requestedMillis(pod *corev1.Pod) (sum int64) {
	for i := range pod.Spec.Containers {
		sum += pod.Spec.Containers[i].Resources.Requests.Cpu().MilliValue()
	}
	return sum
}

// usage is what a pod's containers take of a resource together.
func usage(metrics *unstructured.Unstructured, name string) (sum resource.Quantity) {
	containers, _, _ := unstructured.NestedSlice(metrics.Object, "containers")
	for _, container := range containers {
		of, _ := container.(map[string]any)
		text, _, _ := unstructured.NestedString(of, "usage", name)
		if q, err := resource.ParseQuantity(text); err == nil {
			sum.Add(q)
		}
	}
	return sum
}
