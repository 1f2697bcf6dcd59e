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

	"redoubt.dev/redoubt/internal/allowance"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/proc"
	"redoubt.dev/redoubt/internal/processors"
)

// Group is where loud shims are, beside the group that all shims begin in.
const Group = "engine/loud"

const (
	period = time.Second
	// allowed is the part of a processor that a shim may always use: some
	// thousand lines a second.
	allowed = 0.1
	// burst is what it may use more: the start of a pod takes a tenth of it.
	burst = 500 * time.Millisecond
	// most is the debt that is remembered: a shim that does nothing any more has
	// paid it after ten seconds.
	most = time.Second
	// part of the machine's processors is for all loud shims together; containerd
	// takes three times as much for what they write.
	part = 0.05
)

// Keep watches the shims in the group sub of tree until ctx ends.
func Keep(ctx context.Context, tree cgroup.Tree, sub string) error {
	if err := tree.Create(Group); err != nil {
		return err
	}
	if err := tree.Limit(Group, part*float64(runtime.NumCPU())); err != nil {
		return err
	}
	all, err := tree.Processors()
	if err != nil {
		return err
	}
	if err := tree.Allow(Group, all.Greedy()); err != nil {
		return err
	}
	w := watch{tree: tree, sub: sub, all: all, shims: map[int]*shim{}}
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
	all   processors.Set
	shims map[int]*shim // by process; those that were there at the last look
}

type shim struct {
	used time.Duration // of a processor, since it began
	seen time.Time
	allowance.Bucket
}

// look sums up what every shim has used, and moves those that are loud, or are
// no more.
func (w *watch) look(now time.Time) error {
	seen, held := map[int]*shim{}, false
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
				s = &shim{used: used, seen: now, Bucket: allowance.Bucket{Burst: burst, Most: most}}
			}
			loud := s.Add(used-s.used, now.Sub(s.seen), allowed)
			held = held || loud
			s.used, s.seen = used, now
			seen[pid] = s
			if err := w.place(pid, group, loud); err != nil {
				return err
			}
		}
	}
	w.shims = seen
	return w.yield(held)
}

// yield keeps the container runtime off some processors while some shim is loud:
// all that is written goes through it too.
func (w *watch) yield(held bool) error {
	set := w.all
	if held {
		set = set.Greedy()
	}
	return w.tree.Allow(w.sub, set)
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
