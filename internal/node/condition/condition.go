// Package condition writes what the node role says of pods.
package condition

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Set writes one condition into a pod's status, as of now, and leaves the others.
// A pod that is gone is no error.
func Set(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, c corev1.PodCondition) error {
	c.LastTransitionTime = metav1.Now()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []any{c}}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "redoubt-node"}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("set condition of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
