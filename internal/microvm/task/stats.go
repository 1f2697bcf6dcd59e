package task

import (
	"cmp"
	"context"
	"errors"
	"time"

	cgroup "github.com/containerd/cgroups/v3/cgroup2/stats"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	tasks "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
	"redoubt.dev/redoubt/internal/wire"
)

// statsLimit is how long a guest may take to measure. One that is frozen is not
// asked: the latest measurement stands.
const statsLimit = 2 * time.Second

// Stats measures a container, or with the pod's own the whole guest.
func (s *Service) Stats(ctx context.Context, r *api.StatsRequest) (*api.StatsResponse, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	stats, err := s.stats(ctx, c)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.StatsResponse{Stats: stats}, nil
}

func (s *Service) stats(ctx context.Context, c *container) (*anypb.Any, error) {
	if !s.pod.Frozen() {
		select {
		case <-c.measurement(s.measure):
		case <-time.After(statsLimit):
		case <-ctx.Done():
		}
	}
	usage, err := c.measured()
	if usage == nil {
		return nil, err
	}
	return typeurl.MarshalAnyToProto(metrics(usage))
}

// measure asks the guest. There is an answer, or the session ends.
func (s *Service) measure(ref wire.Ref) (*wire.Usage, error) {
	ctx := context.Background()
	session, err := s.pod.Session(ctx)
	if err != nil {
		return nil, err
	}
	usage := new(wire.Usage)
	return usage, session.Call(ctx, wire.Stats, &ref, usage)
}

// measurement begins one unless one is under way: a machine that is frozen
// meanwhile answers what it was asked before it does anything else. The channel
// is closed at its end.
func (c *container) measurement(measure func(wire.Ref) (*wire.Usage, error)) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked != nil {
		return c.asked
	}
	asked := make(chan struct{})
	c.asked = asked
	ref := c.init.ref
	if c.machine {
		ref = wire.Ref{}
	}
	go func() {
		defer close(asked)
		usage, err := measure(ref)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.asked, c.fault = nil, err; err == nil {
			c.usage = usage
		}
	}()
	return asked
}

// errNotMeasured is that of a container whose guest never answered.
var errNotMeasured = errors.New("the guest has not measured it yet")

// measured is the latest measurement; without one, the error says why.
func (c *container) measured() (*wire.Usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage, cmp.Or(c.fault, errNotMeasured)
}

// metrics is usage as containerd knows it, whatever the host's own control
// groups are.
func metrics(u *wire.Usage) *cgroup.Metrics {
	return &cgroup.Metrics{
		Pids: &cgroup.PidsStat{Current: u.Processes, Limit: u.ProcessesLimit},
		CPU: &cgroup.CPUStat{
			UsageUsec: u.CPUMicros, UserUsec: u.UserMicros, SystemUsec: u.SystemMicros,
			NrPeriods: u.Periods, NrThrottled: u.Throttled, ThrottledUsec: u.ThrottledMicros,
		},
		Memory: &cgroup.MemoryStat{
			Anon: u.Anonymous, File: u.File, InactiveFile: u.InactiveFile, ActiveFile: u.ActiveFile,
			ActiveAnon: u.ActiveAnon, InactiveAnon: u.InactiveAnon, Pgfault: u.Faults, Pgmajfault: u.MajorFaults,
			Usage: u.Memory, UsageLimit: u.MemoryLimit, SwapUsage: u.Swap,
		},
		MemoryEvents: &cgroup.MemoryEvents{OomKill: u.OOMKills},
	}
}

func processInfo(pid uint32) []*tasks.ProcessInfo { return []*tasks.ProcessInfo{{Pid: pid}} }
