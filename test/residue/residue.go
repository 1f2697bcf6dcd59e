// Package residue counts what the pods of an instance have on the node, so that
// a test or a benchmark can tell that pods which came and went left nothing.
package residue

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/instance"
)

// Machines is the kind that only pods of the class microvm have.
const Machines = "virtual machines"

// Of counts, by kind.
func Of(inst instance.Instance) (map[string]int, error) {
	counts := map[string]int{"control groups": controlGroups(inst)}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, inst.RunDir()) && !strings.HasPrefix(m.Mountpoint, inst.DataDir), false
	})
	if err != nil {
		return nil, fmt.Errorf("count mounts: %w", err)
	}
	counts["mounts"] = len(mounts)
	namespaces, err := os.ReadDir(inst.Run("containerd", "io.containerd.grpc.v1.cri", "netns"))
	if err != nil {
		return nil, fmt.Errorf("count network namespaces: %w", err)
	}
	counts["network namespaces"] = len(namespaces)
	if counts["shims"], counts[Machines], err = processes(inst); err != nil {
		return nil, fmt.Errorf("count processes: %w", err)
	}
	err = netns.Do(inst.NetNS(), func() (err error) {
		counts["links"], counts["firewall rules"], err = network()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count links and firewall rules: %w", err)
	}
	return counts, nil
}

// network counts the links and firewall rules of the thread's namespace, with
// the elements of sets that rules look into.
func network() (links, rules int, err error) {
	all, err := netlink.LinkList()
	if err != nil {
		return 0, 0, err
	}
	out, err := exec.Command("nft", "--json", "list", "ruleset").Output()
	if err != nil {
		return 0, 0, err
	}
	type set struct {
		Elem []any `json:"elem"`
	}
	var listed struct {
		Nftables []struct {
			Rule *struct{} `json:"rule"`
			Set  set       `json:"set"`
			Map  set       `json:"map"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return 0, 0, err
	}
	for _, item := range listed.Nftables {
		if item.Rule != nil {
			rules++
		}
		rules += len(item.Set.Elem) + len(item.Map.Elem)
	}
	return len(all), rules, nil
}

// controlGroups counts the pods' own, in one hierarchy of version 1 or 2.
func controlGroups(inst instance.Instance) (n int) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/memory"} {
		_ = filepath.WalkDir(filepath.Join(root, inst.ID(), "kubepods"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				n++
			}
			return nil // one that is gone meanwhile does not count
		})
	}
	return n
}

// processes counts those that serve the instance's containerd, and the machines
// among their children. A spare shim is no pod's yet, and works in no bundle.
func processes(inst instance.Instance) (shims, machines int, err error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, 0, err
	}
	serving, parents := map[string]bool{}, map[string]string{}
	for _, folder := range folders {
		// Any of them may have ended.
		line, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		bundle, _ := os.Readlink(filepath.Join(folder, "cwd"))
		stat, _ := os.ReadFile(filepath.Join(folder, "stat"))
		pid := filepath.Base(folder)
		if fields := strings.Fields(string(stat)); len(fields) > 3 && strings.HasPrefix(fields[1], "(qemu-system") {
			parents[pid] = fields[3]
		}
		if strings.Contains(string(line), inst.RunDir()) && strings.Contains(string(line), "shim") && bundle != "/" {
			serving[pid] = true
		}
	}
	for _, parent := range parents {
		if serving[parent] {
			machines++
		}
	}
	return len(serving), machines, nil
}
