package measure

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/probe"
)

// freezes is the name of the answer whether idle instances of services are frozen.
const freezes = "freeze"

// idle is a service whose instance is to be frozen a second after it has started.
func idle(class string, node *corev1.Node, image string) *serving.Service {
	s := &serving.Service{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "probe-" + class + "-", Namespace: Namespace,
		Labels: map[string]string{label: class, serving.VisibilityLabel: serving.VisibilityClusterLocal},
	}}
	template := &s.Spec.Template
	template.Annotations = map[string]string{serving.FreezeAnnotation: time.Second.String()}
	template.Spec.RuntimeClassName = &class
	template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node.Labels[corev1.LabelHostname]}
	template.Spec.Containers = []serving.Container{{
		Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{probe.Server},
		Ports: []serving.ContainerPort{{ContainerPort: probe.Port}},
	}}
	return s
}

// freeze makes a service and answers whether its instance gets frozen.
func (p Probe) freeze(ctx context.Context, class string, node *corev1.Node) (answer string, err error) {
	s := idle(class, node, p.Image)
	if err := p.Services.Create(ctx, s); err != nil {
		return "", fmt.Errorf("make a service: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		_ = p.Services.Delete(ctx, s)
	}()
	answer = "no instance has started"
	err = wait.PollUntilContextTimeout(ctx, interval, patience, true, func(ctx context.Context) (bool, error) {
		pods, err := p.Cluster.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + s.Name})
		if err != nil {
			return false, err
		}
		for i := range pods.Items {
			if !kube.PodIs(&pods.Items[i], corev1.PodReady) {
				continue
			}
			answer = "an idle instance goes on"
			if kube.PodIs(&pods.Items[i], serving.PodFrozen) {
				answer = probe.Works
			}
		}
		return answer == probe.Works, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		err = nil
	}
	return answer, err
}

// removeServices removes those of measurements that were cut short.
func (p Probe) removeServices(ctx context.Context) error {
	return p.Services.DeleteAllOf(ctx, &serving.Service{}, client.InNamespace(Namespace), client.HasLabels{label})
}
