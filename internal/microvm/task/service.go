// Package task serves containerd's task API (version 3) for the containers of
// one pod, which run in one virtual machine, and its sandbox API for that pod.
//
// The pod's own container, which other runtimes use to hold namespaces open,
// is the machine here: its process is the hypervisor's, and it runs until it
// is killed or the machine ends. The other containers are the guest's.
//
// Events go out in the order that they happened: created, started, exited,
// deleted; a container's first process is the last of it to exit.
package task

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	sandbox "github.com/containerd/containerd/api/runtime/sandbox/v1"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	"redoubt.dev/redoubt/internal/microvm/pod"
)

// Service implements both APIs.
type Service struct {
	shutdown shutdown.Service
	events   *publisher
	context  context.Context // the shim's own: copying outlives requests
	running  chan struct{}   // closed when the pod's first container runs
	runs     sync.Once       // closes running

	mu         sync.Mutex // guards what follows
	pod        *pod.Pod
	spares     Spares
	containers map[string]*container
	// files is the folder of the pod's files, empty where containerd makes them.
	files string
}

// Spares are machines ahead of their pods.
type Spares struct {
	// Ready is for this pod, nil where there was none.
	Ready *pod.Spare
	// Containerd is the address of the one whose next pod gets the next spare.
	Containerd string
}

// New makes the service of one shim. Events go to publisher.
func New(ctx context.Context, publisher shim.Publisher, sd shutdown.Service, spares Spares) *Service {
	s := &Service{
		spares:     spares,
		shutdown:   sd,
		context:    context.WithoutCancel(ctx),
		events:     newPublisher(ctx, publisher),
		running:    make(chan struct{}),
		containers: map[string]*container{},
	}
	sd.RegisterCallback(func(context.Context) error {
		s.events.close()
		return nil
	})
	return s
}

// RegisterTTRPC adds the service to the shim's server.
func (s *Service) RegisterTTRPC(server *ttrpc.Server) error {
	api.RegisterTTRPCTaskService(server, s)
	sandbox.RegisterTTRPCSandboxService(server, s)
	return nil
}

// find returns a container.
func (s *Service) find(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[id]
	if !ok || c.init == nil {
		return nil, fmt.Errorf("%w: container %s", errdefs.ErrNotFound, id)
	}
	return c, nil
}

// process returns a container and one of its processes; the first one without
// an exec's name.
func (s *Service) process(id, exec string) (*container, *process, error) {
	c, err := s.find(id)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.process(exec)
	return c, p, err
}

// pid is what containerd is told of every process: the machine's, which is the
// only one on the host.
func (s *Service) pid() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pod == nil {
		return uint32(os.Getpid())
	}
	return uint32(s.pod.PID())
}

// State of a process.
func (s *Service) State(_ context.Context, r *api.StateRequest) (*api.StateResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	status, exit := p.state()
	return &api.StateResponse{
		ID: c.id, Bundle: c.bundle, Pid: s.pid(), Status: status, ExecID: r.ExecID,
		Stdin: p.paths.Stdin, Stdout: p.paths.Stdout, Stderr: p.paths.Stderr, Terminal: p.paths.Terminal,
		ExitStatus: exit.status, ExitedAt: timestamp(exit.at),
	}, nil
}

// Connect is how containerd finds the shim again after it was restarted.
func (s *Service) Connect(context.Context, *api.ConnectRequest) (*api.ConnectResponse, error) {
	return &api.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: s.pid()}, nil
}

// Pids lists a container's processes. Those of the guest have no number on the
// host: the machine stands for all of them.
func (s *Service) Pids(_ context.Context, r *api.PidsRequest) (*api.PidsResponse, error) {
	if _, err := s.find(r.ID); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.PidsResponse{Processes: processInfo(s.pid())}, nil
}

// Shutdown ends the shim and the machine once no container is left.
func (s *Service) Shutdown(context.Context, *api.ShutdownRequest) (*ptypes.Empty, error) {
	s.mu.Lock()
	left, machine := len(s.containers), s.pod
	s.mu.Unlock()
	if left > 0 {
		return &ptypes.Empty{}, nil
	}
	if machine != nil {
		machine.Kill()
	}
	s.shutdown.Shutdown()
	return &ptypes.Empty{}, nil
}

// Checkpoint is not what a virtual machine of ours can do.
func (s *Service) Checkpoint(context.Context, *api.CheckpointTaskRequest) (*ptypes.Empty, error) {
	return nil, errgrpc.ToGRPC(fmt.Errorf("%w: checkpoint of a microVM's container", errdefs.ErrNotImplemented))
}

// timestamp is absent for a time that has not come.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return protobuf.ToTimestamp(t)
}
