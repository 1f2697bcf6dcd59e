package test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/test/platform"
)

// Pods that came and went leave nothing on the node. The control: while they
// run, there is more of everything that is counted. It comes before tests whose
// pods take minutes to end.
func TestPodsLeaveNothing(t *testing.T) {
	const batch = 6
	for _, class := range classes(t) {
		t.Run(class, func(t *testing.T) {
			ns := namespace(t)
			// Some things come with the first pod, for all: a mount of gVisor's,
			// and the rules that lead to those of single ports.
			running(t, create(t, ns, visible(class, 0)))
			empty(t, ns)
			before := count(t)
			var pods []*corev1.Pod
			for i := range batch {
				pods = append(pods, create(t, ns, visible(class, i)))
			}
			for _, pod := range pods {
				running(t, pod)
			}
			for kind, n := range count(t) {
				if n < before[kind]+batch {
					t.Errorf("with %d pods there are %d %s, without %d: the test looks in the wrong place", batch, n, kind, before[kind])
				}
			}
			empty(t, ns)
			platform.Eventually(t, "nothing is left", func() error {
				for kind, n := range count(t) {
					if n > before[kind] {
						return fmt.Errorf("%d %s, before %d", n, kind, before[kind])
					}
				}
				return nil
			})
		})
	}
}

// visible is a pod with a port of the node, so that there are rules to forget.
func visible(class string, i int) *corev1.Pod {
	pod := idle(class)
	pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: int32(18100 + i)}}
	return pod
}

// empty ends the pods of a namespace, and waits until the node has none of
// them: the API server forgets a pod without a grace period at once.
func empty(t *testing.T, ns string) {
	t.Helper()
	shared.Kubectl(t, "-n", ns, "delete", "pod", "--all", "--now")
	platform.Eventually(t, "the end of all sandboxes", func() error {
		if n := len(sandboxes(t, &runtime.PodSandboxFilter{
			State:         &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_READY},
			LabelSelector: map[string]string{"io.kubernetes.pod.namespace": ns},
		})); n > 0 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// count counts what the instance's pods have on the node, by kind.
func count(t *testing.T) map[string]int {
	t.Helper()
	counts := map[string]int{}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, shared.Inst.RunDir()) && !strings.HasPrefix(m.Mountpoint, shared.Inst.DataDir), false
	})
	if err != nil {
		t.Fatal(err)
	}
	counts["mounts"] = len(mounts)
	namespaces, err := os.ReadDir(shared.Inst.Run("containerd", "io.containerd.grpc.v1.cri", "netns"))
	if err != nil {
		t.Fatal(err)
	}
	counts["network namespaces"] = len(namespaces)
	counts["control groups"] = controlGroups(t)
	counts["shims"] = shims(t)
	err = netns.Do(shared.Inst.NetNS(), func() (err error) {
		counts["links"], counts["firewall rules"], err = network()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
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
func controlGroups(t *testing.T) (n int) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/memory"} {
		_ = filepath.WalkDir(filepath.Join(root, shared.Inst.ID(), "kubepods"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				n++
			}
			return nil // one that is gone meanwhile does not count
		})
	}
	return n
}

// shims counts the processes that serve this instance's containerd. A spare is
// no pod's yet, and works in no bundle.
func shims(t *testing.T) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file) // its process may have ended
		bundle, _ := os.Readlink(filepath.Join(filepath.Dir(file), "cwd"))
		if strings.Contains(string(line), shared.Inst.RunDir()) && strings.Contains(string(line), "shim") && bundle != "/" {
			n++
		}
	}
	return n
}
