// Package cgroup keeps one tree of control groups per instance, on cgroup v1
// (the same path in every hierarchy), v2 and the mix of both.
//
// The tree is how an instance finds every process it ever started, its pods'
// included, however its supervisor died.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"redoubt.dev/redoubt/internal/processors"
)

// Tree is the control group /<name> in every hierarchy of the machine.
type Tree struct {
	name        string
	hierarchies []hierarchy
}

type hierarchy struct {
	mountpoint string
	v2         bool
	cpuset     bool // a v1 group without processors accepts no process
}

// New describes the tree called name; it makes nothing.
func New(name string) (Tree, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Tree{}, fmt.Errorf("find control groups: %w", err)
	}
	defer f.Close()
	t := Tree{name: name}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if h, ok := parseMount(lines.Text()); ok {
			t.hierarchies = append(t.hierarchies, h)
		}
	}
	if len(t.hierarchies) == 0 {
		return Tree{}, errors.New("find control groups: no cgroup file system is mounted; mount one at /sys/fs/cgroup")
	}
	return t, nil
}

// parseMount reads a line of /proc/self/mountinfo (proc(5)).
func parseMount(line string) (hierarchy, bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, super := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(super) < 3 {
		return hierarchy{}, false
	}
	options := strings.Split(super[2], ",")
	switch super[0] {
	case "cgroup2":
		return hierarchy{mountpoint: fields[4], v2: true}, true
	case "cgroup":
		return hierarchy{mountpoint: fields[4], cpuset: slices.Contains(options, "cpuset")}, true
	}
	return hierarchy{}, false
}

// V2 says whether the machine has the unified hierarchy alone.
func (t Tree) V2() bool { return len(t.hierarchies) == 1 && t.hierarchies[0].v2 }

// Create makes the group sub of the tree ("" is its root).
func (t Tree) Create(sub string) error {
	for _, h := range t.hierarchies {
		if err := h.create(filepath.Join(t.name, sub)); err != nil {
			return fmt.Errorf("make control group: %w", err)
		}
	}
	return nil
}

// Weigh lets the group sub have as much processor time as n groups beside it
// when processors are short. Where the kernel weighs no groups it does nothing.
func (t Tree) Weigh(sub string, n int) error {
	const sharesOfOne, weightOfOne, most = 1024, 100, 10000
	for _, h := range t.hierarchies {
		dir := filepath.Join(h.mountpoint, t.name, sub)
		for file, value := range map[string]int{"cpu.shares": n * sharesOfOne, "cpu.weight": min(n*weightOfOne, most)} {
			err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(value)), 0)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("weigh control group: %w", err)
			}
		}
	}
	return nil
}

// Limit lets the group sub use so many processors at most, in steps of a
// hundredth of a second, so that it never holds one for long. Where the kernel
// limits no groups it does nothing.
func (t Tree) Limit(sub string, processors float64) error {
	const period = 10_000 // us
	quota := strconv.Itoa(int(processors * period))
	for _, h := range t.hierarchies {
		dir := filepath.Join(h.mountpoint, t.name, sub)
		for _, f := range []struct{ name, value string }{
			{"cpu.cfs_period_us", strconv.Itoa(period)}, {"cpu.cfs_quota_us", quota}, {"cpu.max", quota + " " + strconv.Itoa(period)},
		} {
			if err := writeExisting(filepath.Join(dir, f.name), f.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("limit control group: %w", err)
			}
		}
	}
	return nil
}

// Processors are those that the tree may use, all of the machine's where its
// kernel gives groups none of their own.
func (t Tree) Processors() (processors.Set, error) {
	for _, h := range t.hierarchies {
		if s, err := processors.Of(filepath.Join(h.mountpoint, t.name)); !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
	}
	return processors.Parse(fmt.Sprintf("0-%d", runtime.NumCPU()-1))
}

// Allow lets the group sub use these processors and no others. Where the kernel
// gives groups none of their own it does nothing.
func (t Tree) Allow(sub string, s processors.Set) error {
	for _, h := range t.hierarchies {
		if err := processors.Allow(filepath.Join(h.mountpoint, t.name, sub), s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("give control group processors: %w", err)
		}
	}
	return nil
}

// Add moves a process into the group sub, which exists.
func (t Tree) Add(sub string, pid int) error {
	for _, h := range t.hierarchies {
		file := filepath.Join(h.mountpoint, t.name, sub, "cgroup.procs")
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("move process %d into control group: %w", pid, err)
		}
	}
	return nil
}

// Processes lists every process in the group sub and below.
func (t Tree) Processes(sub string) ([]int, error) {
	seen := map[int]bool{}
	for _, h := range t.hierarchies {
		err := walk(filepath.Join(h.mountpoint, t.name, sub), func(dir string) error {
			pids, err := readPids(filepath.Join(dir, "cgroup.procs"))
			for _, pid := range pids {
				seen[pid] = true
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list processes of control group: %w", err)
		}
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// Kill ends every process in the group sub and below and waits until all are
// gone or patience runs out. Frozen ones are thawed first: on v1 they would
// not see the signal.
func (t Tree) Kill(sub string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		pids, err := t.Processes(sub)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill control group: processes %v are still there after %v", pids, patience)
		}
		t.Thaw(sub)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Remove deletes the whole tree, which holds no process any more.
func (t Tree) Remove() error {
	for _, h := range t.hierarchies {
		var dirs []string
		err := walk(filepath.Join(h.mountpoint, t.name), func(dir string) error {
			dirs = append(dirs, dir)
			return nil
		})
		if err != nil {
			return fmt.Errorf("remove control group: %w", err)
		}
		for _, dir := range slices.Backward(dirs) {
			if err := remove(dir); err != nil {
				return fmt.Errorf("remove control group: %w", err)
			}
		}
	}
	return nil
}

// dying is how long a process that has been killed may take on a busy host until
// its group can be removed: it is listed no more before it has let go of all.
const dying = 10 * time.Second

func remove(dir string) error {
	for deadline := time.Now().Add(dying); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(dir)
		if os.IsNotExist(err) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}

func (h hierarchy) create(path string) error {
	dir := h.mountpoint
	for part := range strings.SplitSeq(path, "/") {
		if h.v2 {
			h.delegate(dir)
		}
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			return err
		}
		if h.cpuset {
			if err := inheritCPUs(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate turns on every controller for dir's children. One that the kernel
// refuses stays off; the kubelet names those it cannot do without.
func (h hierarchy) delegate(dir string) {
	controllers, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for c := range strings.FieldsSeq(string(controllers)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
}

func inheritCPUs(dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(own)) != "" {
			continue
		}
		parent, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), parent, 0); err != nil {
			return err
		}
	}
	return nil
}

// Thaw lets the processes of the group sub and below run again. What cannot be
// thawed is left: its processes will not answer.
func (t Tree) Thaw(sub string) {
	for _, h := range t.hierarchies {
		_ = walk(filepath.Join(h.mountpoint, t.name, sub), func(dir string) error {
			_ = writeExisting(filepath.Join(dir, "freezer.state"), "THAWED")
			_ = writeExisting(filepath.Join(dir, "cgroup.freeze"), "0")
			return nil
		})
	}
}

func writeExisting(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// walk calls visit for dir and every folder below, parents first. Groups that
// vanish meanwhile are passed over.
func walk(dir string, visit func(dir string) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = visit(path)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		return err
	})
}

func readPids(file string) ([]int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("%s holds %q, which is no process id", file, field)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
