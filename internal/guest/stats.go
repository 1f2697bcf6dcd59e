package guest

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// stats measures a container, or the whole machine if none is named.
func (a *agent) stats(r *wire.Ref) (*wire.Usage, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.ID == "" {
		u := cgroup{cgroupRoot}.usage()
		return u, links(u)
	}
	c, err := a.container(r.ID)
	if err != nil {
		return nil, err
	}
	u := c.cgroup.usage()
	var fs unix.Statfs_t
	if unix.Statfs(c.root.dir+"/rw", &fs) == nil {
		u.RootUsed = (fs.Blocks - fs.Bfree) * uint64(fs.Bsize)
		u.RootInodes = fs.Files - fs.Ffree
	}
	return u, nil
}

func (c cgroup) usage() *wire.Usage {
	cpu, memory := c.counters("cpu.stat"), c.counters("memory.stat")
	return &wire.Usage{
		CPUMicros: cpu["usage_usec"], UserMicros: cpu["user_usec"], SystemMicros: cpu["system_usec"],
		Periods: cpu["nr_periods"], Throttled: cpu["nr_throttled"], ThrottledMicros: cpu["throttled_usec"],
		Memory: c.number("memory.current"), MemoryLimit: c.number("memory.max"), Swap: c.number("memory.swap.current"),
		Anonymous: memory["anon"], File: memory["file"], InactiveFile: memory["inactive_file"],
		ActiveFile: memory["active_file"], ActiveAnon: memory["active_anon"],
		InactiveAnon: memory["inactive_anon"], Faults: memory["pgfault"], MajorFaults: memory["pgmajfault"],
		OOMKills: c.oomKills(), Processes: c.number("pids.current"), ProcessesLimit: c.number("pids.max"),
	}
}

func links(u *wire.Usage) error {
	all, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range all {
		s := l.Attrs().Statistics
		if l.Attrs().Flags&unix.IFF_LOOPBACK != 0 || s == nil {
			continue
		}
		u.Links = append(u.Links, wire.LinkUsage{
			Name: l.Attrs().Name, RxBytes: s.RxBytes, RxPackets: s.RxPackets, TxBytes: s.TxBytes, TxPackets: s.TxPackets,
		})
	}
	return nil
}
