package main

import (
	"bufio"
	"bytes"
	"errors"
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
	g, err := cgroupOf(pid, "memory")
	if err == nil && g.dir == "" {
		err = errors.New("find the sandbox's cgroup: this host has no memory controller")
	}
	if err != nil {
		return memoryGroup{}, err
	}
	return memoryGroupIn(g), nil
}

func memoryGroupIn(g cgroup) memoryGroup {
	switch {
	case g.dir == "":
		return memoryGroup{}
	case g.unified:
		return memoryGroup{g.dir, "memory.current", "memory.events"}
	}
	return memoryGroup{g.dir, "memory.usage_in_bytes", "memory.oom_control"}
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
