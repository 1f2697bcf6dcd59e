package doctor

import (
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

var cgroupChecks = []check{
	{"version", cgroupVersion},
	{"controllers", cgroupControllers},
	{"write access", func(h Host) Finding {
		return h.tried(Groups, "control groups can be made and removed",
			"in a container: mount the control groups writable (privileged, or cgroup namespace private)", Failed)
	}},
	{"freezing", func(h Host) Finding {
		if v2, names := h.controllers(); v2 || slices.Contains(names, "freezer") {
			return passed("idle pods can be frozen")
		}
		return warning("mount the controller: mount -t cgroup -o freezer freezer /sys/fs/cgroup/freezer", "no freezer: idle pods cannot be frozen")
	}},
}

func cgroupVersion(h Host) Finding {
	switch v2, names := h.controllers(); {
	case v2:
		return passed("v2")
	case len(names) > 0:
		return passed("v1; systems that boot with v2 limit memory and pressure better")
	}
	return failed("mount them: mount -t cgroup2 none /sys/fs/cgroup", "none are mounted")
}

// needed by the kubelet; on v1 it wants cpuacct too, but no system mounts cpu
// without it.
var neededControllers = []string{"cpu", "cpuset", "memory", "pids"}

func cgroupControllers(h Host) Finding {
	_, names := h.controllers()
	var missing []string
	for _, name := range neededControllers {
		if !slices.Contains(names, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return failed("turn them on at boot, for memory with the kernel's command line: cgroup_enable=memory", "missing: %s", strings.Join(missing, ", "))
	}
	return passed("%s", strings.Join(neededControllers, ", "))
}

// controllers lists those that can be used, and says whether they are v2's. On
// a machine that mounts both, v1's are the ones in use.
func (h Host) controllers() (v2 bool, names []string) {
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(h.read("proc/self/mountinfo")), mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return false, nil
	}
	var unified string
	for _, m := range mounts {
		if m.FSType == "cgroup2" {
			unified = m.Mountpoint
			continue
		}
		names = append(names, strings.Split(m.VFSOptions, ",")...)
	}
	if unified == "" || len(mounts) > 1 {
		return false, names
	}
	file := strings.TrimPrefix(unified, "/") + "/cgroup.controllers"
	return true, strings.Fields(h.read(file))
}
