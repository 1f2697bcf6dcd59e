package task

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	sandbox "github.com/containerd/containerd/api/runtime/sandbox/v1"
	"github.com/containerd/containerd/api/types"
	tasks "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"redoubt.dev/redoubt/internal/microvm/spec"
	"redoubt.dev/redoubt/internal/microvm/stdio"
	"redoubt.dev/redoubt/internal/wire"
)

// What containerd's sandbox API says of a pod's state.
const (
	ready    = "SANDBOX_READY"
	notReady = "SANDBOX_NOTREADY"
)

// farewell is how long the shim stays after it was told to end, so that its
// answer arrives.
const farewell = time.Second

// CreateSandbox makes the machine of a pod without a container of its own: where
// containerd asks the shim for pods (sandboxer = "shim"), the machine is one by
// itself. It is kept as that container all the same, but is no task.
func (s *Service) CreateSandbox(ctx context.Context, r *sandbox.CreateSandboxRequest) (*sandbox.CreateSandboxResponse, error) {
	if err := s.createSandbox(ctx, r); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &sandbox.CreateSandboxResponse{}, nil
}

func (s *Service) createSandbox(ctx context.Context, r *sandbox.CreateSandboxRequest) (err error) {
	config := new(cri.PodSandboxConfig)
	if r.Options != nil {
		if err := r.Options.UnmarshalTo(config); err != nil {
			return fmt.Errorf("%w: the pod's configuration: %w", errdefs.ErrInvalidArgument, err)
		}
	}
	c := &container{
		id: r.SandboxID, bundle: r.BundlePath, machine: true, sandbox: true, created: time.Now(),
		spec: spec.Sandbox(r.SandboxID, r.NetnsPath, config), execs: map[string]*process{},
	}
	s.mu.Lock()
	taken := s.pod != nil
	s.mu.Unlock()
	if taken {
		return fmt.Errorf("%w: the shim has a pod", errdefs.ErrAlreadyExists)
	}
	if err := s.reserve(c); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.forget(c.id)
		}
	}()
	if err := keepSandbox(c, config); err != nil {
		return err
	}
	machine, err := s.ensurePod(ctx, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.files = c.bundle
	s.mu.Unlock()
	s.know(c, newProcess(wire.Ref{ID: c.id}, stdio.Paths{}, c.spec.Process), machine)
	return nil
}

// keepSandbox writes into the bundle what containerd would have: the
// specification, by which another process of the shim's cleans up, and the files
// that the pod's containers mount.
func keepSandbox(c *container, config *cri.PodSandboxConfig) error {
	text, err := json.Marshal(c.spec)
	if err != nil {
		return fmt.Errorf("keep the pod's specification: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.bundle, "config.json"), text, 0o600); err != nil {
		return fmt.Errorf("keep the pod's specification: %w", err)
	}
	for name, content := range spec.PodFiles(config) {
		if err := os.WriteFile(filepath.Join(c.bundle, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("make the pod's %s: %w", name, err)
		}
	}
	return nil
}

// StartSandbox says that the pod runs: the machine does since it was made.
func (s *Service) StartSandbox(_ context.Context, r *sandbox.StartSandboxRequest) (*sandbox.StartSandboxResponse, error) {
	c, err := s.findSandbox(r.SandboxID)
	if err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("%w: %v", errdefs.ErrFailedPrecondition, err))
	}
	if status, _ := c.init.state(); status != tasks.Status_CREATED {
		return nil, errgrpc.ToGRPC(fmt.Errorf("%w: the pod is %s", errdefs.ErrFailedPrecondition, status))
	}
	c.init.begin(time.Now())
	return &sandbox.StartSandboxResponse{Pid: s.pid(), CreatedAt: timestamp(c.created)}, nil
}

// Platform is what the pod's images are for.
func (s *Service) Platform(context.Context, *sandbox.PlatformRequest) (*sandbox.PlatformResponse, error) {
	return &sandbox.PlatformResponse{Platform: &types.Platform{OS: "linux", Architecture: runtime.GOARCH}}, nil
}

// StopSandbox ends the machine, whose containers containerd has ended before.
func (s *Service) StopSandbox(_ context.Context, r *sandbox.StopSandboxRequest) (*sandbox.StopSandboxResponse, error) {
	c, err := s.findSandbox(r.SandboxID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.stopSandbox(c)
	return &sandbox.StopSandboxResponse{}, nil
}

func (s *Service) stopSandbox(c *container) {
	s.exited(c, c.init, exit{status: killed, at: time.Now()})
	s.pod.Kill()
}

// WaitSandbox blocks until the machine has ended.
func (s *Service) WaitSandbox(ctx context.Context, r *sandbox.WaitSandboxRequest) (*sandbox.WaitSandboxResponse, error) {
	c, err := s.findSandbox(r.SandboxID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	select {
	case <-c.init.done:
	case <-ctx.Done():
		return nil, errgrpc.ToGRPC(ctx.Err())
	}
	_, e := c.init.state()
	return &sandbox.WaitSandboxResponse{ExitStatus: e.status, ExitedAt: timestamp(e.at)}, nil
}

// SandboxStatus is the pod's state.
func (s *Service) SandboxStatus(_ context.Context, r *sandbox.SandboxStatusRequest) (*sandbox.SandboxStatusResponse, error) {
	c, err := s.findSandbox(r.SandboxID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	status, e := c.init.state()
	answer := &sandbox.SandboxStatusResponse{
		SandboxID: c.id, Pid: s.pid(), State: notReady, CreatedAt: timestamp(c.created), ExitedAt: timestamp(e.at),
	}
	if status == tasks.Status_RUNNING || status == tasks.Status_PAUSED {
		answer.State = ready
	}
	answer.Info = map[string]string{"pid": strconv.FormatUint(uint64(answer.Pid), 10), "state": answer.State}
	return answer, nil
}

// PingSandbox answers that the shim does.
func (s *Service) PingSandbox(context.Context, *sandbox.PingRequest) (*sandbox.PingResponse, error) {
	return &sandbox.PingResponse{}, nil
}

// ShutdownSandbox ends the machine and the shim, whatever is left of the pod.
func (s *Service) ShutdownSandbox(_ context.Context, r *sandbox.ShutdownSandboxRequest) (*sandbox.ShutdownSandboxResponse, error) {
	if c, err := s.findSandbox(r.SandboxID); err == nil {
		s.stopSandbox(c)
		s.forget(c.id)
	}
	// Not before the answer is on its way, which containerd insists on.
	time.AfterFunc(farewell, s.shutdown.Shutdown)
	return &sandbox.ShutdownSandboxResponse{}, nil
}

// SandboxMetrics measures the whole guest.
func (s *Service) SandboxMetrics(ctx context.Context, r *sandbox.SandboxMetricsRequest) (*sandbox.SandboxMetricsResponse, error) {
	c, err := s.findSandbox(r.SandboxID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	data, err := s.stats(ctx, c)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &sandbox.SandboxMetricsResponse{Metrics: &types.Metric{Timestamp: timestamppb.Now(), ID: c.id, Data: data}}, nil
}

// UpdateSandbox changes nothing: what containerd keeps with a pod is not the
// machine's concern. Its limits come with its containers'.
func (s *Service) UpdateSandbox(context.Context, *sandbox.UpdateSandboxRequest) (*sandbox.UpdateSandboxResponse, error) {
	return &sandbox.UpdateSandboxResponse{}, nil
}

// findSandbox returns the pod.
func (s *Service) findSandbox(id string) (*container, error) {
	c, err := s.find(id)
	if err == nil && !c.sandbox {
		err = fmt.Errorf("%w: pod %s", errdefs.ErrNotFound, id)
	}
	return c, err
}
