package jail

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// group is one control group in every hierarchy, opened before the thread
// loses sight of them.
//
// A child forked into the group never ran outside it, so that none of its
// memory is charged elsewhere. On v2 the kernel forks it there
// (CLONE_INTO_CGROUP). On v1 it starts where the forking thread is: the thread
// goes in, forks and comes back, for a thread that stayed would be frozen
// with the pod.
type group struct {
	v1   []v1Group
	v2   *os.File // the folder; nil without that hierarchy
	mine string   // this thread's id
}

type v1Group struct{ tasks, home *os.File }

// openGroup opens the group called name; "" gives one that does nothing.
func openGroup(name string) (g group, err error) {
	if name == "" {
		return group{}, nil
	}
	defer func() {
		if err != nil {
			g.close()
			err = fmt.Errorf("open control group %s: %w", name, err)
		}
	}()
	g.mine = strconv.Itoa(unix.Gettid())
	mine, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return g, err
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return g, err
	}
	defer mounts.Close()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if err := g.open(lines.Text(), name, string(mine)); err != nil {
			return g, err
		}
	}
	if g.v2 == nil && g.v1 == nil {
		return g, errors.New("no cgroup hierarchy has it")
	}
	return g, nil
}

// open adds the hierarchy of one line of /proc/self/mountinfo (proc(5)), if it
// is one and has the group.
func (g *group) open(line, name, mine string) error {
	before, after, ok := strings.Cut(line, " - ")
	fields, super := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(super) < 3 {
		return nil
	}
	dir := filepath.Join(fields[4], filepath.Join("/", name))
	switch super[0] {
	case "cgroup2":
		f, err := os.Open(dir)
		if errors.Is(err, os.ErrNotExist) {
			return nil // the mixed layout: the pod may have its limits in v1 alone
		}
		if err == nil {
			g.v2 = f
		}
		return err
	case "cgroup":
		tasks, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		home, err := os.OpenFile(filepath.Join(fields[4], ownPath(mine, super[2]), "tasks"), os.O_WRONLY, 0)
		if err != nil {
			_ = tasks.Close()
			return err
		}
		g.v1 = append(g.v1, v1Group{tasks, home})
	}
	return nil
}

// ownPath finds where a thread is in the v1 hierarchy with the given mount
// options, from its /proc/thread-self/cgroup (cgroups(7)).
func ownPath(mine, options string) string {
	for line := range strings.Lines(mine) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && parts[1] != "" && strings.Contains(","+options+",", ","+parts[1]+",") {
			return parts[2]
		}
	}
	return "/"
}

// join makes the next child start in the group.
func (g group) join(attr *syscall.SysProcAttr) error {
	for _, h := range g.v1 {
		if _, err := h.tasks.WriteString(g.mine); err != nil {
			return fmt.Errorf("join control group %s: %w", h.tasks.Name(), err)
		}
	}
	if g.v2 != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.v2.Fd())
	}
	return nil
}

// leave takes the thread back to where it was.
func (g group) leave() error {
	for _, h := range g.v1 {
		if _, err := h.home.WriteString(g.mine); err != nil {
			return fmt.Errorf("leave control group: %w", err)
		}
	}
	return nil
}

func (g group) close() {
	for _, h := range g.v1 {
		_ = h.tasks.Close()
		_ = h.home.Close()
	}
	if g.v2 != nil {
		_ = g.v2.Close()
	}
}
