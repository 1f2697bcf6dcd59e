package main

import (
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
)

// A container that runs has used some processor time, however little gVisor
// counts; what it does count stays.
func TestEachContainerHasUsedSomething(t *testing.T) {
	for _, counted := range []uint64{0, 10_000} {
		want := max(counted, least)
		one := complete(&v1.Metrics{CPU: &v1.CPUStat{Usage: &v1.CPUUsage{Total: counted * 1000}}}, 0, false).(*v1.Metrics)
		two := complete(&v2.Metrics{CPU: &v2.CPUStat{UsageUsec: counted}}, 0, false).(*v2.Metrics)
		if one.CPU.Usage.Total != want*1000 || two.CPU.UsageUsec != want {
			t.Errorf("counted %d us: shown are %d ns and %d us", counted, one.CPU.Usage.Total, two.CPU.UsageUsec)
		}
	}
}
