package main

import (
	"context"
	"fmt"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
)

// Stats adds to gVisor's statistics what the shim knows: the container's
// memory limit, and whether it was killed for going over it. containerd asks
// for the latter after the container's end, when gVisor has no more to say.
func (s *service) Stats(ctx context.Context, r *task.StatsRequest) (*task.StatsResponse, error) {
	answer, err := s.measure(ctx, r)
	p := s.sandbox()
	if p == nil {
		return answer, err
	}
	limit, killed := p.memoryOf(r.ID)
	if err != nil {
		if !killed {
			return nil, err
		}
		return pack(complete(&v1.Metrics{}, limit, killed))
	}
	known, err := typeurl.UnmarshalAny(answer.Stats)
	if err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("read gVisor's statistics: %w", err))
	}
	return pack(complete(known, limit, killed))
}

// least is the processor time of a container that has not used any yet, in
// microseconds. gVisor counts in hundredths of a second, and the metrics API
// shows nothing of a pod with a container that has used none.
const least = 1

// complete adds a container's memory limit, 0 for none, and what became of it
// to metrics in either version's form.
func complete(metrics any, limit uint64, killed bool) any {
	var kills uint64
	if killed {
		kills = 1
	}
	switch m := metrics.(type) {
	case *v1.Metrics:
		m.MemoryOomControl = &v1.MemoryOomControl{OomKill: kills}
		if m.CPU != nil && m.CPU.Usage != nil {
			m.CPU.Usage.Total = max(m.CPU.Usage.Total, least*1000)
		}
		if m.Memory != nil && m.Memory.Usage != nil && limit > 0 {
			m.Memory.Usage.Limit = limit
		}
	case *v2.Metrics:
		m.MemoryEvents = &v2.MemoryEvents{Oom: kills, OomKill: kills}
		if m.CPU != nil {
			m.CPU.UsageUsec = max(m.CPU.UsageUsec, least)
		}
		if m.Memory != nil && limit > 0 {
			m.Memory.UsageLimit = limit
		}
	}
	return metrics
}

func pack(metrics any) (*task.StatsResponse, error) {
	data, err := typeurl.MarshalAnyToProto(metrics)
	if err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("pass statistics on: %w", err))
	}
	return &task.StatsResponse{Stats: data}, nil
}
