// Package measure runs the probe in pods of a runtime class, on a node, and
// keeps what it found with the class.
package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"redoubt.dev/redoubt/internal/probe"
	"redoubt.dev/redoubt/internal/sandbox"
)

// Annotation of a RuntimeClass has what was measured: JSON, a Measured by the
// name of each node.
const Annotation = "redoubt.dev/measured"

// Namespace is where the pods run for a moment.
const Namespace = "redoubt-system"

const (
	// patience is how long one pod may take.
	patience = 2 * time.Minute
	// longest is how much a pod may say, in bytes.
	longest = 64 << 10
)

// Measured is what a class can do on one node.
type Measured struct {
	At metav1.Time `json:"at"`
	// Default is what a pod finds that says nothing of its security, Privileged
	// one that was given everything that the class gives.
	Default    probe.Report `json:"default"`
	Privileged probe.Report `json:"privileged"`
}

// Of reads what was measured of a class, by node.
func Of(class *nodev1.RuntimeClass) (map[string]Measured, error) {
	nodes := map[string]Measured{}
	text := class.Annotations[Annotation]
	if text == "" {
		return nodes, nil
	}
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		return nil, fmt.Errorf("class %s: annotation %s: %w", class.Name, Annotation, err)
	}
	return nodes, nil
}

// Class measures a class on a node with an image of the probe, and writes down
// what it finds.
func Class(ctx context.Context, cluster kubernetes.Interface, class *nodev1.RuntimeClass, node, image string) error {
	yes := true
	m := Measured{At: metav1.Now()}
	var err1, err2 error
	given := pod(class.Name, node, image)
	given.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	// Other classes do not have the node's processes, and may refuse to be asked.
	given.Spec.HostPID = class.Labels[sandbox.IsolationLabel] == string(sandbox.Process)
	var both sync.WaitGroup
	both.Go(func() { m.Default, err1 = run(ctx, cluster, pod(class.Name, node, image)) })
	both.Go(func() { m.Privileged, err2 = run(ctx, cluster, given) })
	both.Wait()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("measure class %s on node %s: %w", class.Name, node, err)
	}
	nodes, err := Of(class)
	if err != nil {
		nodes = map[string]Measured{} // somebody else's words; they are replaced
	}
	nodes[node] = m
	text, err := json.Marshal(nodes)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{Annotation: string(text)}}})
	if err != nil {
		return err
	}
	if _, err = cluster.NodeV1().RuntimeClasses().Patch(ctx, class.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("write down what class %s can do: %w", class.Name, err)
	}
	return nil
}

func pod(class, node, image string) *corev1.Pod {
	no := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-" + class + "-"},
		Spec: corev1.PodSpec{
			RuntimeClassName:             &class,
			NodeName:                     node,
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: &no,
			Containers:                   []corev1.Container{{Name: "probe", Image: image, ImagePullPolicy: corev1.PullIfNotPresent}},
		},
	}
}

// run makes the pod, reads what it says and removes it.
func run(ctx context.Context, cluster kubernetes.Interface, pod *corev1.Pod) (probe.Report, error) {
	var report probe.Report
	pods := cluster.CoreV1().Pods(Namespace)
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return report, err
	}
	defer func() { _ = pods.Delete(context.WithoutCancel(ctx), made.Name, metav1.DeleteOptions{}) }()
	var why string
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		now, err := pods.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		why = fmt.Sprintf("pod %s is %s", now.Name, now.Status.Phase)
		if now.Status.Phase == corev1.PodFailed {
			return false, errors.New(why + ": " + now.Status.Message)
		}
		return now.Status.Phase == corev1.PodSucceeded, nil
	})
	if err != nil {
		return report, fmt.Errorf("%w; %s", err, why)
	}
	log, err := pods.GetLogs(made.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return report, fmt.Errorf("read what pod %s says: %w", made.Name, err)
	}
	defer log.Close()
	if err := json.NewDecoder(io.LimitReader(log, longest)).Decode(&report); err != nil {
		return report, fmt.Errorf("read what pod %s says: %w", made.Name, err)
	}
	return report, nil
}
