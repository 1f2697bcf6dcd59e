package overhead

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/proc"
)

// Weight is what a pod takes at a moment, in bytes. Its processes are those in
// its control group, and, wherever they are, its shim and what that started.
type Weight struct {
	// Share is the memory of all of its processes, pages that several
	// processes of the machine share counted in parts (PSS).
	Share int64
	// Own is the part of Share that no file holds, so that the kernel cannot
	// drop it: what one pod adds to a machine, however many others it has.
	Own int64
	// Outside is the part of Share of the processes outside of the pod's group.
	Outside int64
	// Charged is what the kernel counts as the pod's group's, its own
	// structures too, but for files that it keeps in memory.
	Charged int64
	// Busy is the processor time used, that of ended children included.
	Busy time.Duration
}

// Total is what a class should declare at the least: what is charged to the
// pod's group and what runs outside of it, or all that its processes have,
// whichever is more.
func (w Weight) Total() int64 { return max(w.Share, w.Charged+w.Outside) }

// Weigh looks at the pod with the sandbox id, in the group sub of groups.
func Weigh(groups cgroup.Tree, sub, sandbox string) (w Weight, err error) {
	inside, err := groups.Processes(sub)
	if err != nil {
		return w, err
	}
	shims, err := shimsOf(sandbox)
	if err != nil {
		return w, err
	}
	if len(inside) == 0 || len(shims) == 0 {
		return w, fmt.Errorf("the pod %s has %d processes and %d shims: it does not run", sandbox, len(inside), len(shims))
	}
	all := slices.Concat(inside, shims)
	slices.Sort(all)
	for _, pid := range slices.Compact(all) {
		memory, busy, ok := look(pid)
		if !ok {
			continue // it has ended
		}
		w.Share += memory.Share
		w.Own += memory.Own
		w.Busy += busy
		if !slices.Contains(inside, pid) {
			w.Outside += memory.Share
		}
	}
	w.Charged, err = charged(groups, sub)
	return w, err
}

func look(pid int) (memory proc.Memory, busy time.Duration, ok bool) {
	memory, err := proc.MemoryOf(pid)
	if err != nil {
		return memory, 0, false
	}
	times, err := proc.TimesOf(pid)
	return memory, times.Own + times.Children, err == nil
}

// shimsOf finds the shim, which every runtime has work in the pod's bundle
// (containerd, core/runtime/v2), and what it started.
func shimsOf(sandbox string) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	var found []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		times, err := proc.TimesOf(pid)
		if err != nil {
			continue
		}
		parents[pid] = times.Parent
		if bundle, _ := os.Readlink(filepath.Join(dir, "cwd")); filepath.Base(bundle) == sandbox {
			found = append(found, pid)
		}
	}
	for i := 0; i < len(found); i++ {
		for pid, parent := range parents {
			if parent == found[i] && !slices.Contains(found, pid) {
				found = append(found, pid)
			}
		}
	}
	return found, nil
}

func charged(groups cgroup.Tree, sub string) (int64, error) {
	memory, err := groups.Memory(sub)
	if err != nil {
		return 0, fmt.Errorf("weigh the pod's control group: %w", err)
	}
	return memory.Used - memory.Files, nil
}
