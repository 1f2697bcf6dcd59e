// Package cgroup makes and removes the control group that a pod's virtual
// machine runs in, below the pod's own, on hosts with either version of them
// or both, by the kernel's files or by systemd. The pod's group has the limits.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

// Group is the control group of one virtual machine. The zero Group is none, and
// what is done to it does nothing.
type Group struct {
	path string // below the hierarchies' mount points
	unit scope  // where systemd is to make it
}

// Parse reads an OCI specification's cgroupsPath: a path, or SLICE:PREFIX:NAME
// where systemd makes control groups.
func Parse(name string) (Group, error) {
	if strings.Count(name, ":") == 2 {
		return parseScope(name)
	}
	if name != "" && !filepath.IsLocal(strings.TrimPrefix(name, "/")) {
		return Group{}, fmt.Errorf("control group %s is outside of the hierarchy", name)
	}
	return Group{path: name}, nil
}

// Path is where the group is below the hierarchies' mount points.
func (g Group) Path() string { return g.path }

// Create makes the group in every hierarchy that has its parent. systemd takes
// an empty group away: one of its own holds a process until let is called.
func (g Group) Create(ctx context.Context) (let func(), err error) {
	if let = func() {}; g.path == "" {
		return let, nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the control group %s: %w", g.path, err)
		}
	}()
	if g.unit != (scope{}) {
		if let, err = g.unit.start(ctx); err != nil {
			return nil, err
		}
	}
	made := false
	err = each(func(root string) error {
		dir := filepath.Join(root, g.path)
		if _, err := os.Stat(filepath.Dir(dir)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = true
		return inherit(root, dir)
	})
	if err == nil && !made {
		err = errors.New("no hierarchy has its parent")
	}
	if err != nil {
		let()
	}
	return let, err
}

// Move takes a process with all its threads into the group, in every hierarchy
// that has it. What it has used stays counted where it was.
func (g Group) Move(pid int) error {
	if g.path == "" {
		return nil
	}
	return each(func(root string) error {
		err := os.WriteFile(filepath.Join(root, g.path, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move process %d into the control group %s: %w", pid, g.path, err)
		}
		return nil
	})
}

// Bound limits the group to the memory that the group above it may have, less
// so many bytes that its processes have used before they were in it. Without a
// limit above there is none here.
func (g Group) Bound(ctx context.Context, less int64) error {
	if g.path == "" {
		return nil
	}
	return each(func(root string) error {
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			parent := filepath.Join(root, filepath.Dir(g.path))
			text, err := os.ReadFile(filepath.Join(parent, file))
			if err != nil {
				continue // another hierarchy's
			}
			limit := noLimit
			if above, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && above < unlimited {
				limit = max(above-less, 0)
			}
			if err := g.limit(ctx, parent, file, limit); err != nil {
				return fmt.Errorf("limit the control group %s: %w", g.path, err)
			}
		}
		return nil
	})
}

const noLimit int64 = -1

// limit lets the group, which is in the folder parent, use so many bytes.
func (g Group) limit(ctx context.Context, parent, file string, bytes int64) error {
	if g.unit != (scope{}) {
		return g.unit.limit(ctx, bytes)
	}
	text := strconv.FormatInt(bytes, 10)
	if file == "memory.max" {
		if bytes == noLimit {
			text = "max"
		}
		// If it is not possible, the limit cannot be written either.
		_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	return os.WriteFile(filepath.Join(parent, filepath.Base(g.path), file), []byte(text), 0)
}

// unlimited is less than what version 1 says where there is no limit: as much
// as whole pages make of the largest number.
const unlimited = 1 << 62

// inherit fills in what a group of version 1's cpuset must be told before it
// can hold a process, from the nearest group above that was told.
func inherit(root, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if _, err := fill(root, dir, file); err != nil {
			return err
		}
	}
	return nil
}

// fill returns dir's value of file, which it takes from above if it is empty.
func fill(root, dir, file string) ([]byte, error) {
	value, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil || len(strings.TrimSpace(string(value))) > 0 || dir == root {
		return value, ignoreMissing(err)
	}
	if value, err = fill(root, filepath.Dir(dir), file); err != nil || len(value) == 0 {
		return nil, err
	}
	return value, os.WriteFile(filepath.Join(dir, file), value, 0)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove takes the group away. Processes that have just been killed may still
// be in it for a moment.
func (g Group) Remove(ctx context.Context) error {
	if g.path == "" {
		return nil
	}
	if g.unit != (scope{}) {
		if err := g.unit.stop(ctx); err != nil {
			return fmt.Errorf("remove the control group %s: %w", g.path, err)
		}
	}
	return each(func(root string) error {
		var err error
		for range 50 {
			if err = os.Remove(filepath.Join(root, g.path)); err == nil || errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
		return fmt.Errorf("remove the control group: %w", err)
	})
}

// each calls f with the mount point of each hierarchy, once.
func each(f func(root string) error) error {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		errs = append(errs, f(m.Mountpoint))
	}
	return errors.Join(errs...)
}
