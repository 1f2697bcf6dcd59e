package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryGroup is the cgroup that holds all processes of a sandbox, as the
// host's kernel accounts for their memory.
type memoryGroup struct {
	dir    string
	usage  string // file with the bytes in use
	events string // file with the count of processes killed for memory
}

// memoryGroupOf finds the cgroup of process pid on a host with version 1 or 2.
func memoryGroupOf(pid int) (memoryGroup, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return memoryGroup{}, fmt.Errorf("find the sandbox's cgroup: %w", err)
	}
	g, ok := parseMemoryGroup(string(data))
	if !ok {
		return memoryGroup{}, fmt.Errorf("find the sandbox's cgroup: no memory controller in %q", data)
	}
	return g, nil
}

// parseMemoryGroup reads /proc/PID/cgroup. A version 1 memory controller wins
// over the unified hierarchy, which then has no controllers.
func parseMemoryGroup(text string) (g memoryGroup, ok bool) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch {
		case fields[0] == "0" && fields[1] == "" && !ok:
			g, ok = memoryGroup{filepath.Join("/sys/fs/cgroup", fields[2]), "memory.current", "memory.events"}, true
		case hasController(fields[1], "memory"):
			return memoryGroup{filepath.Join("/sys/fs/cgroup/memory", fields[2]), "memory.usage_in_bytes", "memory.oom_control"}, true
		}
	}
	return g, ok
}

func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// used is the memory in use, in bytes.
func (g memoryGroup) used() (uint64, error) {
	data, err := os.ReadFile(filepath.Join(g.dir, g.usage))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(string(bytes.TrimSpace(data)), 10, 64)
}

// kills is how many processes the host's kernel has killed for memory; 0
// where the cgroup is gone.
func (g memoryGroup) kills() uint64 {
	f, err := os.Open(filepath.Join(g.dir, g.events))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if count, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			n, _ := strconv.ParseUint(count, 10, 64) // the kernel's own number
			return n
		}
	}
	return 0
}
