// Package cgroup makes and removes the control group that a pod's virtual
// machine runs in, below the pod's own, on hosts with either version of them
// or both. The pod's group has the limits.
package cgroup

import (
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

// Create makes the group in every hierarchy that has its parent. An empty name
// is no group.
func Create(name string) error {
	if name == "" {
		return nil
	}
	if err := check(name); err != nil {
		return err
	}
	made := false
	err := each(func(root string) error {
		dir := filepath.Join(root, name)
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
		return fmt.Errorf("make the control group %s: %w", name, err)
	}
	return nil
}

// Move takes a process with all its threads into the group, in every hierarchy
// that has it. What it has used stays counted where it was.
func Move(name string, pid int) error {
	if name == "" {
		return nil
	}
	return each(func(root string) error {
		err := os.WriteFile(filepath.Join(root, name, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move process %d into the control group %s: %w", pid, name, err)
		}
		return nil
	})
}

// Bound limits the group to the memory that the group above it may have, less
// so many bytes that its processes have used before they were in it. Without a
// limit above there is none here.
func Bound(name string, less int64) error {
	if name == "" {
		return nil
	}
	return each(func(root string) error {
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			parent := filepath.Join(root, filepath.Dir(name))
			text, err := os.ReadFile(filepath.Join(parent, file))
			if err != nil {
				continue // another hierarchy's
			}
			limit := "-1"
			if file == "memory.max" {
				limit = "max"
				// If it is not possible, the limit cannot be written either.
				_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0)
			}
			if above, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && above < unlimited {
				limit = strconv.FormatInt(max(above-less, 0), 10)
			}
			if err := os.WriteFile(filepath.Join(root, name, file), []byte(limit), 0); err != nil {
				return fmt.Errorf("limit the control group %s: %w", name, err)
			}
		}
		return nil
	})
}

// unlimited is less than what version 1 says where there is no limit: as much
// as whole pages make of the largest number.
const unlimited = 1 << 62

// check refuses systemd's form of the name.
func check(name string) error {
	if strings.Count(name, ":") == 2 {
		return fmt.Errorf("control group %s is systemd's to make; a microVM needs SystemdCgroup = false and the kubelet's cgroupDriver: cgroupfs", name)
	}
	if !filepath.IsLocal(strings.TrimPrefix(name, "/")) {
		return fmt.Errorf("control group %s is outside of the hierarchy", name)
	}
	return nil
}

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
func Remove(name string) error {
	if name == "" || check(name) != nil {
		return nil
	}
	return each(func(root string) error {
		var err error
		for range 50 {
			if err = os.Remove(filepath.Join(root, name)); err == nil || errors.Is(err, fs.ErrNotExist) {
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
