// Package measure runs the probe in pods of a runtime class, on a node, and
// keeps what it found with the class: all of it for people, and what the class
// lacks for admission.
package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"redoubt.dev/redoubt/internal/probe"
	"redoubt.dev/redoubt/internal/sandbox"
)

// Annotation of a RuntimeClass has what was measured: JSON, a Measured by the
// name of each node.
const Annotation = "redoubt.dev/measured"

// Namespace is where the pods run for a moment.
const Namespace = "redoubt-system"

// Measured is what a class can do on one node.
type Measured struct {
	At metav1.Time `json:"at"`
	// Versions are those of everything that the answers depend on.
	Versions string `json:"versions"`
	// Default is what a pod finds that says nothing of its security, Privileged
	// one that was given everything that the class gives.
	Default    probe.Report `json:"default"`
	Privileged probe.Report `json:"privileged"`
	// Fields has an answer for each field of a pod that was asked for.
	Fields map[string]string `json:"fields"`
	// Verbs has one for what is done to a pod while it runs.
	Verbs map[string]string `json:"verbs,omitempty"`
	// Figures has how fast pods are, and how many of the kernel's calls they
	// reach, each by its name and unit.
	Figures map[string]float64 `json:"figures,omitempty"`
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

// Probe measures with an image of the probe.
type Probe struct {
	Cluster kubernetes.Interface
	// Config is the cluster's, for streams, and Services knows Knative's kinds.
	Config   *rest.Config
	Services client.Client
	// Image has the probe as its entry point.
	Image string
	// Programs stand for the versions of what runs pods on the node, beside what
	// the node says of itself.
	Programs string
	// Room has as much capacity as pods may run at the same time. Most of those
	// that take long wait to be refused a second time.
	Room chan struct{}
}

// Versions are those that a measurement on a node depends on.
func (p Probe) Versions(node *corev1.Node) string {
	info := node.Status.NodeInfo
	return fmt.Sprintf("kernel %s, %s, kubelet %s, programs %s", info.KernelVersion, info.ContainerRuntimeVersion, info.KubeletVersion, p.Programs)
}

// write keeps with a class what was found of it on a node.
func (p Probe) write(ctx context.Context, name, node string, m Measured) error {
	class, err := p.Cluster.NodeV1().RuntimeClasses().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("write down what class %s can do: %w", name, err)
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
	found := map[string]string{Annotation: string(text), sandbox.LacksAnnotation: lacks(class.Annotations[sandbox.DeclaredLacksAnnotation], nodes)}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": found}})
	if err != nil {
		return err
	}
	if _, err = p.Cluster.NodeV1().RuntimeClasses().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("write down what class %s can do: %w", name, err)
	}
	return nil
}

// within measures what pods of a class can do, all at the same time.
func (p Probe) within(ctx context.Context, class *nodev1.RuntimeClass, node *corev1.Node) (Measured, error) {
	m := Measured{At: metav1.Now(), Versions: p.Versions(node), Fields: map[string]string{}}
	var (
		mu     sync.Mutex
		failed error
		all    sync.WaitGroup
	)
	try := func(do func() (map[string]string, error)) {
		all.Go(func() {
			answers, err := do()
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			maps.Copy(m.Fields, answers)
		})
	}
	try(func() (_ map[string]string, err error) {
		var refused string
		m.Default, refused, err = p.run(ctx, pod(class.Name, node.Name, p.Image))
		return nil, must(refused, err)
	})
	try(func() (_ map[string]string, err error) {
		var refused string
		m.Privileged, refused, err = p.run(ctx, everything(class, node.Name, p.Image))
		return map[string]string{privileged: orWorks(refused)}, err
	})
	try(func() (map[string]string, error) { return p.settings(ctx, pod(class.Name, node.Name, p.Image)) })
	for _, a := range asks {
		try(func() (map[string]string, error) {
			answer, err := p.ask(ctx, a, pod(class.Name, node.Name, p.Image))
			return map[string]string{a.field: answer}, err
		})
	}
	all.Wait()
	return m, failed
}

// everything is a pod that is given all that the class gives.
func everything(class *nodev1.RuntimeClass, node, image string) *corev1.Pod {
	given := pod(class.Name, node, image)
	yes := true
	given.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	// Other classes do not have the node's processes, and may refuse to be asked.
	given.Spec.HostPID = class.Labels[sandbox.IsolationLabel] == string(sandbox.Process)
	return given
}

func orWorks(refused string) string {
	if refused == "" {
		return probe.Works
	}
	return refused
}
