package lifecycle

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
)

// traces is what an instance could leave on a machine, each thing named by
// its kind.
type traces map[string]bool

// look lists the machine's processes of Redoubt, its mounts, links, network
// namespaces, tables, control groups, run folders and caches.
func look() (traces, error) {
	t := traces{}
	for _, f := range []func() error{t.processes, t.mounts, t.links, t.tables, t.folders} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// since is what is in t and was not in before.
func (t traces) since(before traces) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(t)), func(name string) bool { return before[name] })
}

// processes names those that run something of the engine or of Redoubt, and
// those in a network namespace or control group that an instance made.
func (t traces) processes() error {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil {
			continue // it has ended, or is the kernel's
		}
		groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		if strings.Contains(exe, "/redoubt") || bytes.Contains(groups, []byte("/redoubt-")) {
			t[fmt.Sprintf("process %s %s", filepath.Base(dir), exe)] = true
		}
	}
	return nil
}

func (t traces) mounts() error {
	infos, err := mountinfo.GetMounts(nil)
	for _, info := range infos {
		t["mount "+info.Mountpoint] = true
	}
	return err
}

func (t traces) links() error {
	links, err := netlink.LinkList()
	for _, l := range links {
		t["link "+l.Attrs().Name] = true
	}
	routes, err2 := netlink.RouteList(nil, netlink.FAMILY_ALL)
	for _, r := range routes {
		t["route "+r.String()] = true
	}
	if err == nil {
		err = err2
	}
	return err
}

func (t traces) tables() error {
	out, err := exec.Command("nft", "list", "ruleset").Output()
	for line := range strings.Lines(string(out)) {
		t["nft "+strings.TrimSpace(line)] = true
	}
	return err
}

func (t traces) folders() error {
	for _, pattern := range []string{
		"/sys/fs/cgroup/redoubt*", "/sys/fs/cgroup/*/redoubt*", // v2 and v1
		"/run/redoubt/*", "/var/cache/redoubt/*", "/var/cache/redoubt/microvm/*/*", "/run/netns/*", "/run/containerd/*", "/run/containerd/s/*",
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			t["folder "+name] = true
		}
	}
	return nil
}
