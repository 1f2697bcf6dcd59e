package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// service is the task service of one pod: gVisor's own, completed. It lives
// as long as the shim's process.
type service struct {
	task.TaskService // gVisor's

	publisher shim.Publisher
	states    lastAnswers[task.StateResponse]
	stats     lastAnswers[task.StatsResponse]

	// opening is held while a container with a terminal is made, and shared by
	// those who may open other terminals.
	opening sync.RWMutex

	mu  sync.Mutex
	pod *pod // guarded by mu; nil until the pod's sandbox exists
}

func newService(publisher shim.Publisher, sd shutdown.Service) *service {
	s := &service{publisher: publisher}
	sd.RegisterCallback(func(context.Context) error {
		if p := s.sandbox(); p != nil {
			p.close()
		}
		return nil
	})
	return s
}

// RegisterTTRPC offers the service to containerd.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	task.RegisterTaskService(server, s)
	return nil
}

func (s *service) sandbox() *pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pod
}

// Create makes a container. The first one of a pod is its sandbox, and what
// the shim does for the whole pod begins with it.
func (s *service) Create(ctx context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	b, err := readBundle(r.Bundle)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if err := b.translate(); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if err := b.restrict(ctx, r.Rootfs); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if r.Options, err = b.settings(r.Options); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	answer, err := s.create(ctx, r)
	if err != nil {
		return nil, err
	}
	s.created(r, answer.Pid)
	if b.isSandbox() {
		s.open(ctx, r, b, int(answer.Pid))
	} else if p := s.sandbox(); p != nil {
		p.add(r.ID, container{bundle: b.dir, limits: b.limits()})
	}
	return answer, nil
}

// open begins the pod. A part that does not work on this machine is missed by
// those who use it; the pod runs without.
func (s *service) open(ctx context.Context, r *task.CreateTaskRequest, b bundle, pid int) {
	socket, err := controlSocket(ctx, r)
	if err != nil {
		log.L.WithError(err).Warn("pod: no port forwarding, no memory limits of single containers")
		return
	}
	p := newPod(r.ID, pid, sandbox{socket}, func(container string) {
		s.kill(context.WithoutCancel(ctx), container)
	})
	if network, own := b.namespace(specs.NetworkNamespace); own {
		if err := p.forward(network.Path); err != nil {
			log.L.WithError(err).Warn("pod: no port forwarding")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pod = p
}

// Update changes the limits of a running container.
func (s *service) Update(ctx context.Context, r *task.UpdateTaskRequest) (*emptypb.Empty, error) {
	answer, err := s.TaskService.Update(ctx, r)
	p := s.sandbox()
	if err != nil || p == nil || r.ID == p.id {
		return answer, err
	}
	var resources specs.LinuxResources
	if err := json.Unmarshal(r.Resources.GetValue(), &resources); err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("read the new limits: %w", err))
	}
	if err := p.change(r.ID, limitsOf(&resources)); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return answer, nil
}

// Delete removes a container that has ended, or one of its processes.
func (s *service) Delete(ctx context.Context, r *task.DeleteRequest) (*task.DeleteResponse, error) {
	answer, err := s.TaskService.Delete(ctx, r)
	if err == nil && r.ExecID == "" {
		answer.ExitStatus = s.status(r.ID, answer.ExitStatus)
	}
	if err == nil {
		s.states.forget(process{r.ID, r.ExecID})
		s.stats.forget(process{r.ID, r.ExecID})
	}
	if p := s.sandbox(); err == nil && r.ExecID == "" && p != nil {
		p.remove(r.ID)
	}
	return answer, err
}

// Shutdown ends the shim unless it still has containers. gVisor's answers
// then with neither a result nor an error, which cannot be sent: containerd
// would take every removal of one container among several for a failure and
// try it again for ever.
func (s *service) Shutdown(ctx context.Context, r *task.ShutdownRequest) (*emptypb.Empty, error) {
	if _, err := s.TaskService.Shutdown(ctx, r); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
