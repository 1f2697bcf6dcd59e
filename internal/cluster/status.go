package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"redoubt.dev/redoubt/internal/cluster/supervise"
	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/proc"
	"redoubt.dev/redoubt/internal/version"
)

// Component is a supervised process and what the kernel says of it.
type Component struct {
	supervise.Status
	// Version is that of the program, empty when it cannot be read.
	Version string `json:"version,omitempty"`
	// Memory is the proportional set size in bytes: what is resident, pages
	// that several processes share counted in equal parts. The parts of
	// Kubernetes are one program, so the sum of their resident sets would
	// count its code six times.
	Memory int64 `json:"memoryBytes"`
}

// Status is the whole of an instance at one moment.
type Status struct {
	Name       string          `json:"name"`
	Running    bool            `json:"running"`
	Instance   *instance.State `json:"instance,omitempty"`
	Components []Component     `json:"components"`
	Node       *NodeStatus     `json:"node,omitempty"`
	// Problem says what could not be found out.
	Problem string `json:"problem,omitempty"`
}

// NodeStatus is the node as Kubernetes sees it.
type NodeStatus struct {
	Name     string   `json:"name"`
	Ready    bool     `json:"ready"`
	Version  string   `json:"version"`
	Kernel   string   `json:"kernel"`
	Handlers []string `json:"handlers"`
}

// Healthy says whether every component runs and the node is ready.
func (s Status) Healthy() bool {
	for _, c := range s.Components {
		if c.State != supervise.Running {
			return false
		}
	}
	return s.Running && s.Node != nil && s.Node.Ready
}

// Look finds out how the instance is. Only a bug makes it fail: what is
// missing or broken is part of the answer.
func Look(ctx context.Context, inst instance.Instance) Status {
	s := Status{Name: inst.Name}
	state, err := inst.LoadState()
	if err != nil {
		s.Problem = err.Error()
		return s
	}
	s.Instance = &state
	processes, err := Processes(ctx, inst)
	if err != nil {
		s.Problem = fmt.Sprintf("%v; start it again with: redoubt up --name %s", err, inst.Name)
		return s
	}
	s.Running = true
	engine, err := instance.EngineDir()
	if err != nil {
		s.Problem = err.Error()
	}
	for _, p := range processes {
		v, _ := version.Of(engine, p.Name)
		memory, _ := proc.MemoryOf(p.PID) // zero of a process that has ended
		s.Components = append(s.Components, Component{Status: p, Version: v, Memory: memory.Share})
	}
	if s.Node, err = lookAtNode(ctx, inst); err != nil {
		s.Problem = err.Error()
	}
	return s
}

func lookAtNode(ctx context.Context, inst instance.Instance) (*NodeStatus, error) {
	cfg, err := kube.Config(inst.Kubeconfig(), "redoubt-status")
	if err != nil {
		return nil, err
	}
	cfg.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	node, err := client.CoreV1().Nodes().Get(ctx, inst.NodeName(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("ask the API server for the node: %w", err)
	}
	s := &NodeStatus{Name: node.Name, Version: node.Status.NodeInfo.KubeletVersion, Kernel: node.Status.NodeInfo.KernelVersion}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			s.Ready = c.Status == corev1.ConditionTrue
		}
	}
	for _, h := range node.Status.RuntimeHandlers {
		if h.Name != "" {
			s.Handlers = append(s.Handlers, h.Name)
		}
	}
	return s, nil
}

// errUnhealthy is how status tells scripts that something is wrong.
var errUnhealthy = errors.New("not every component runs")

// Check is an error unless the instance is healthy.
func (s Status) Check() error {
	if s.Healthy() {
		return nil
	}
	if s.Problem != "" {
		return errors.New(s.Problem)
	}
	return errUnhealthy
}
