package task

import (
	"context"
	"time"

	cgroup "github.com/containerd/cgroups/v3/cgroup2/stats"
	api "github.com/containerd/containerd/api/runtime/task/v3"
	tasks "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"redoubt.dev/redoubt/internal/wire"
)

// statsLimit is how long a guest may take to measure. One that is frozen does
// not answer at all, and the latest measurement stands.
const statsLimit = 2 * time.Second

// Stats measures a container, or with the pod's own the whole guest.
func (s *Service) Stats(ctx context.Context, r *api.StatsRequest) (*api.StatsResponse, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	ctx, cancel := context.WithTimeout(ctx, statsLimit)
	defer cancel()
	ref := c.init.ref
	if c.machine {
		ref = wire.Ref{}
	}
	usage, err := s.measure(ctx, ref)
	if err != nil {
		usage = c.measured(nil)
	}
	if usage == nil {
		return nil, errgrpc.ToGRPC(err)
	}
	stats, err := typeurl.MarshalAnyToProto(metrics(c.measured(usage)))
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.StatsResponse{Stats: stats}, nil
}

func (s *Service) measure(ctx context.Context, ref wire.Ref) (*wire.Usage, error) {
	session, err := s.pod.Session(ctx)
	if err != nil {
		return nil, err
	}
	usage := new(wire.Usage)
	return usage, session.Call(ctx, wire.Stats, &ref, usage)
}

// measured keeps the latest measurement: of a machine that is frozen it is the
// present one, and nil returns it.
func (c *container) measured(now *wire.Usage) *wire.Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now != nil {
		c.usage = now
	}
	return c.usage
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
