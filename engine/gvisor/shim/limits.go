package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cgroupMount is where a container has its cgroup.
const cgroupMount = "/sys/fs/cgroup"

// limits are what a container may use. Zero is no limit.
type limits struct {
	memory uint64 // bytes
	quota  uint64 // microseconds of processor time in a period
	period uint64 // microseconds
}

func limitsOf(r *specs.LinuxResources) (l limits) {
	if r == nil {
		return l
	}
	if m := r.Memory; m != nil && m.Limit != nil && *m.Limit > 0 {
		l.memory = uint64(*m.Limit)
	}
	if c := r.CPU; c != nil && c.Quota != nil && *c.Quota > 0 && c.Period != nil && *c.Period > 0 {
		l.quota, l.period = uint64(*c.Quota), *c.Period
	}
	return l
}

// files are the limits as programs look them up in the container's cgroup,
// version 2. Runtimes of languages size their heaps and thread pools by them.
// Inside a gVisor sandbox the files exist and say "max".
func (l limits) files() map[string]string {
	files := map[string]string{"memory.max": "max\n", "cpu.max": "max 100000\n"}
	if l.memory > 0 {
		files["memory.max"] = fmt.Sprintf("%d\n", l.memory)
	}
	if l.quota > 0 {
		files["cpu.max"] = fmt.Sprintf("%d %d\n", l.quota, l.period)
	}
	return files
}

// write puts the files into the container's bundle, from where its mounts
// show them in their place. An existing file keeps its identity: mounts follow
// that, not the name.
func (l limits) write(bundle string) error {
	for name, text := range l.files() {
		if err := os.WriteFile(filepath.Join(bundle, name), []byte(text), 0o444); err != nil {
			return fmt.Errorf("write the container's limits: %w", err)
		}
	}
	return nil
}

// mounts show the files where the container looks for them.
func (l limits) mounts(bundle string) (mounts []specs.Mount) {
	for _, name := range slices.Sorted(maps.Keys(l.files())) {
		mounts = append(mounts, specs.Mount{
			Destination: filepath.Join(cgroupMount, name),
			Type:        "bind",
			Source:      filepath.Join(bundle, name),
			Options:     []string{"bind", "ro", "nosuid", "nodev", "noexec"},
		})
	}
	return mounts
}
