// Package startup measures what the container runtime needs for a pod, through
// the Container Runtime Interface and without anything of Kubernetes' around
// it: sandbox, container, start. The peer is runc.
package startup

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/cri"
)

const (
	suite  = "startup"
	rounds = 15
	// peer is the handler that the others are compared with.
	peer = "runc"
)

// times of one handler, one entry per round.
type times struct{ sandbox, container, total, end []time.Duration }

// Run measures every handler of the node.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	client, conn, err := cri.Connect(p.Inst.ContainerdSocket())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	handlers, err := handlers(ctx, client)
	if err != nil {
		return nil, err
	}
	// The kubelet would end pods that it knows nothing of.
	resume, err := pauseKubelet(ctx, p)
	if err != nil {
		return nil, err
	}
	defer resume()
	taken := map[string]*times{}
	for _, h := range handlers {
		taken[h] = &times{}
	}
	b := bench{client: client, cgroup: "/" + p.Inst.ID() + "/bench", logs: p.Inst.Data("logs", "bench")}
	err = measure.Interleave(handlers, rounds, func(handler string, record bool) error {
		into := taken[handler]
		if !record {
			into = &times{}
		}
		return b.once(ctx, handler, into)
	})
	if err != nil {
		return nil, err
	}
	for _, h := range handlers {
		t := taken[h]
		results = append(results,
			measure.Of(suite, h, "sandbox, container, start", "ms", measure.Milliseconds(t.total)...),
			measure.Of(suite, h, "sandbox alone", "ms", measure.Milliseconds(t.sandbox)...),
			measure.Of(suite, h, "container and start", "ms", measure.Milliseconds(t.container)...),
			measure.Of(suite, h, "stop and remove", "ms", measure.Milliseconds(t.end)...),
		)
	}
	measure.Compare(results, peer)
	return results, nil
}

// handlers are those that the runtime reports, the default one by its name.
func handlers(ctx context.Context, client runtime.RuntimeServiceClient) ([]string, error) {
	status, err := client.Status(ctx, &runtime.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask the container runtime for its handlers: %w", err)
	}
	all := []string{peer}
	for _, h := range status.RuntimeHandlers {
		if h.Name != "" && h.Name != peer {
			all = append(all, h.Name)
		}
	}
	return all, nil
}

func pauseKubelet(ctx context.Context, p *platform.Platform) (resume func(), err error) {
	processes, err := cluster.Processes(ctx, p.Inst)
	if err != nil {
		return nil, err
	}
	for _, process := range processes {
		if process.Name == "kubelet" {
			return func() { _ = unix.Kill(process.PID, unix.SIGCONT) }, unix.Kill(process.PID, unix.SIGSTOP)
		}
	}
	return nil, fmt.Errorf("the instance %s has no kubelet", p.Inst.Name)
}

type bench struct {
	client       runtime.RuntimeServiceClient
	cgroup, logs string
	made         int
}

// once makes a pod with one container that does nothing, and removes it.
func (b *bench) once(ctx context.Context, handler string, into *times) (err error) {
	b.made++
	name := fmt.Sprintf("bench-%d", b.made)
	pod := &runtime.PodSandboxConfig{
		Metadata:     &runtime.PodSandboxMetadata{Name: name, Uid: name, Namespace: "bench"},
		LogDirectory: b.logs,
		Linux:        &runtime.LinuxPodSandboxConfig{CgroupParent: b.cgroup},
	}
	began := time.Now()
	sandbox, err := b.client.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: pod, RuntimeHandler: handler})
	if err != nil {
		return fmt.Errorf("run sandbox: %w", err)
	}
	made := time.Now()
	defer func() {
		if err != nil {
			_ = b.remove(ctx, sandbox.PodSandboxId)
		}
	}()
	container, err := b.client.CreateContainer(ctx, &runtime.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, SandboxConfig: pod,
		Config: &runtime.ContainerConfig{
			Metadata: &runtime.ContainerMetadata{Name: "idle"},
			Image:    &runtime.ImageSpec{Image: cluster.PauseImage},
			LogPath:  name + ".log",
		},
	})
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	if _, err := b.client.StartContainer(ctx, &runtime.StartContainerRequest{ContainerId: container.ContainerId}); err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	started := time.Now()
	if err := b.remove(ctx, sandbox.PodSandboxId); err != nil {
		return err
	}
	into.sandbox = append(into.sandbox, made.Sub(began))
	into.container = append(into.container, started.Sub(made))
	into.total = append(into.total, started.Sub(began))
	into.end = append(into.end, time.Since(started))
	return nil
}

func (b *bench) remove(ctx context.Context, id string) error {
	if _, err := b.client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("stop sandbox: %w", err)
	}
	if _, err := b.client.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("remove sandbox: %w", err)
	}
	return nil
}
