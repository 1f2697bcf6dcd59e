// Package idlepod makes pods that do nothing through the Container Runtime
// Interface, without anything of Kubernetes' around it. While a Maker is open
// the instance's kubelet is stopped: it would end pods that it knows nothing
// of.
package idlepod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cri"
)

// Plain is the handler of plain containers, which others are compared with.
const Plain = "runc"

// namespace is that of the pods. It has to exist, or the node refuses them.
const namespace = "default"

// Maker makes pods on one instance. Close it when done.
type Maker struct {
	client   runtime.RuntimeServiceClient
	conn     *grpc.ClientConn
	groups   cgroup.Tree
	id, logs string
	kubelet  int
	made     int
}

// Pod has one container, the one that holds the namespaces of runc's pods.
type Pod struct {
	// ID is the sandbox's, Group its control group in the instance's tree.
	ID, Group string
	// Sandbox is how long the pod's own part took, Container how long making
	// and starting its container.
	Sandbox, Container time.Duration
}

// Open stops the kubelet.
func Open(ctx context.Context, p *platform.Platform) (*Maker, error) {
	groups, err := cgroup.New(p.Inst.ID())
	if err != nil {
		return nil, err
	}
	kubelet, err := kubelet(ctx, p)
	if err != nil {
		return nil, err
	}
	client, conn, err := cri.Connect(p.Inst.ContainerdSocket())
	if err != nil {
		return nil, err
	}
	m := &Maker{client: client, conn: conn, groups: groups, id: p.Inst.ID(), logs: p.Inst.Data("logs", "bench"), kubelet: kubelet}
	if err := unix.Kill(kubelet, unix.SIGSTOP); err != nil {
		return nil, errors.Join(fmt.Errorf("stop the kubelet: %w", err), conn.Close())
	}
	return m, nil
}

// Close lets the kubelet go on. It ends the pods that are left.
func (m *Maker) Close() error { return errors.Join(unix.Kill(m.kubelet, unix.SIGCONT), m.conn.Close()) }

func kubelet(ctx context.Context, p *platform.Platform) (int, error) {
	processes, err := cluster.Processes(ctx, p.Inst)
	if err != nil {
		return 0, err
	}
	for _, process := range processes {
		if process.Name == "kubelet" {
			return process.PID, nil
		}
	}
	return 0, fmt.Errorf("the instance %s has no kubelet", p.Inst.Name)
}

// Handlers are those that the runtime reports, the default one by its name and
// first.
func (m *Maker) Handlers(ctx context.Context) ([]string, error) {
	status, err := m.client.Status(ctx, &runtime.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask the container runtime for its handlers: %w", err)
	}
	all := []string{Plain}
	for _, h := range status.RuntimeHandlers {
		if h.Name != "" && h.Name != Plain {
			all = append(all, h.Name)
		}
	}
	return all, nil
}

// Make makes a pod in a control group of its own and starts its container.
func (m *Maker) Make(ctx context.Context, handler string) (pod Pod, err error) {
	m.made++
	name := fmt.Sprintf("bench-%d", m.made)
	pod.Group = "bench/" + name
	if err := m.groups.Create(pod.Group); err != nil {
		return pod, err
	}
	config := &runtime.PodSandboxConfig{
		Metadata:     &runtime.PodSandboxMetadata{Name: name, Uid: name, Namespace: namespace},
		LogDirectory: m.logs,
		Linux:        &runtime.LinuxPodSandboxConfig{CgroupParent: "/" + m.id + "/" + pod.Group},
	}
	began := time.Now()
	sandbox, err := m.client.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		return pod, fmt.Errorf("run sandbox: %w", err)
	}
	pod.ID, pod.Sandbox = sandbox.PodSandboxId, time.Since(began)
	if err := m.startContainer(ctx, pod.ID, config); err != nil {
		return pod, errors.Join(err, m.Remove(ctx, pod))
	}
	pod.Container = time.Since(began) - pod.Sandbox
	return pod, nil
}

func (m *Maker) startContainer(ctx context.Context, id string, pod *runtime.PodSandboxConfig) error {
	container, err := m.client.CreateContainer(ctx, &runtime.CreateContainerRequest{
		PodSandboxId: id, SandboxConfig: pod,
		Config: &runtime.ContainerConfig{
			Metadata: &runtime.ContainerMetadata{Name: "idle"},
			Image:    &runtime.ImageSpec{Image: cluster.PauseImage},
			LogPath:  pod.Metadata.Name + ".log",
		},
	})
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	if _, err := m.client.StartContainer(ctx, &runtime.StartContainerRequest{ContainerId: container.ContainerId}); err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	return nil
}

// Remove stops and removes a pod.
func (m *Maker) Remove(ctx context.Context, pod Pod) error {
	if _, err := m.client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: pod.ID}); err != nil {
		return fmt.Errorf("stop sandbox: %w", err)
	}
	if _, err := m.client.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: pod.ID}); err != nil {
		return fmt.Errorf("remove sandbox: %w", err)
	}
	return nil
}
