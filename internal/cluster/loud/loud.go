// Package loud keeps what pods write from taking the node's processors.
//
// A container's output goes through its shim and the container runtime, which
// are the platform's own processes: what they take is in no pod's limit. A
// container that does nothing but write keeps both busy, and whoever shares the
// node waits. So shims have an allowance, and one that has used it up shares a
// small part of the machine with others like it until it has been silent. The
// container waits with it: nothing of its output is lost.
package loud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"time"

	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/proc"
)

// Group is where loud shims are, beside the group that all shims begin in.
const Group = "engine/loud"

const (
	period = time.Second
	// part of the machine's processors is for all loud shims together.
	part = 0.1
)

// Keep watches the shims in the group sub of tree until ctx ends.
func Keep(ctx context.Context, tree cgroup.Tree, sub string) error {
	if err := tree.Create(Group); err != nil {
		return err
	}
	if err := tree.Limit(Group, part*float64(runtime.NumCPU())); err != nil {
		return err
	}
	w := watch{tree: tree, sub: sub, shims: map[int]*shim{}}
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := w.look(now); err != nil {
				slog.Warn("what pods write may take the node's processors", "error", err)
			}
		}
	}
}

type watch struct {
	tree  cgroup.Tree
	sub   string
	shims map[int]*shim // by process; those that were there at the last look
}

type shim struct {
	used time.Duration // of a processor, since it began
	seen time.Time
	bucket
}

// look sums up what every shim has used, and moves those that are loud, or are
// no more.
func (w *watch) look(now time.Time) error {
	seen := map[int]*shim{}
	for _, group := range []string{w.sub, Group} {
		pids, err := w.tree.Processes(group)
		if err != nil {
			return err
		}
		for _, pid := range pids {
			used, ok := shimTime(pid)
			if !ok {
				continue
			}
			s := w.shims[pid]
			if s == nil {
				s = &shim{used: used, seen: now}
			}
			loud := s.add(used-s.used, now.Sub(s.seen))
			s.used, s.seen = used, now
			seen[pid] = s
			if err := w.place(pid, group, loud); err != nil {
				return err
			}
		}
	}
	w.shims = seen
	return nil
}

// place moves a shim that is not where it belongs.
func (w *watch) place(pid int, at string, loud bool) error {
	belongs := w.sub
	if loud {
		belongs = Group
	}
	if at == belongs {
		return nil
	}
	if err := w.tree.Add(belongs, pid); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("hold back what a pod writes: %w", err)
	}
	return nil
}

// shimTime is what a shim has used of a processor; another process is none.
func shimTime(pid int) (used time.Duration, ok bool) {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if !bytes.HasPrefix(name, []byte("containerd-shim")) { // it is cut at 15 characters
		return 0, false
	}
	times, err := proc.TimesOf(pid)
	return times.Own, err == nil
}
