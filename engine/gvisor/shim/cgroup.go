package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cgroup is a process's in the hierarchy of one controller.
type cgroup struct {
	dir     string // empty where no hierarchy has the controller
	unified bool   // version 2
}

// cgroupOf finds the cgroup of process pid on a host with version 1 or 2.
func cgroupOf(pid int, controller string) (cgroup, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return cgroup{}, fmt.Errorf("find the sandbox's cgroup: %w", err)
	}
	return parseCgroup(string(data), controller), nil
}

// parseCgroup reads /proc/PID/cgroup. A version 1 controller wins over the
// unified hierarchy, which then has not got it.
func parseCgroup(text, controller string) (g cgroup) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch {
		case hasController(fields[1], controller):
			return cgroup{dir: filepath.Join("/sys/fs/cgroup", controller, fields[2])}
		case fields[0] == "0" && fields[1] == "":
			g = cgroup{dir: filepath.Join("/sys/fs/cgroup", fields[2]), unified: true}
		}
	}
	return g
}

func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}
