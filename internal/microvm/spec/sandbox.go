package spec

import (
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Annotations in which containerd's CRI gives the sums of a pod's limits to
// the pod's own container.
const (
	MemoryAnnotation = "io.kubernetes.cri.sandbox-memory"
	QuotaAnnotation  = "io.kubernetes.cri.sandbox-cpu-quota"
	PeriodAnnotation = "io.kubernetes.cri.sandbox-cpu-period"
)

// Sandbox is the specification that the pod's own container would have, for a
// pod that containerd gives none (its sandbox API). netns is the path of the
// pod's network namespace, empty for the host's.
func Sandbox(id, netns string, c *cri.PodSandboxConfig) *specs.Spec {
	linux := c.GetLinux()
	s := &specs.Spec{
		Version: specs.Version, Hostname: c.GetHostname(),
		Process: &specs.Process{}, Annotations: map[string]string{},
		Linux: &specs.Linux{CgroupsPath: cgroupsPath(linux.GetCgroupParent(), id), Sysctl: linux.GetSysctls()},
	}
	options := linux.GetSecurityContext().GetNamespaceOptions()
	add := func(kind specs.LinuxNamespaceType, mode cri.NamespaceMode, path string) {
		if mode != cri.NamespaceMode_NODE {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
		}
	}
	add(specs.NetworkNamespace, options.GetNetwork(), netns)
	add(specs.PIDNamespace, options.GetPid(), "")
	add(specs.IPCNamespace, options.GetIpc(), "")
	if users := options.GetUsernsOptions(); users != nil {
		add(specs.UserNamespace, users.GetMode(), "")
		s.Linux.UIDMappings, s.Linux.GIDMappings = mappings(users.GetUids()), mappings(users.GetGids())
	}
	if r := linux.GetResources(); r != nil {
		s.Annotations[MemoryAnnotation] = strconv.FormatInt(r.MemoryLimitInBytes, 10)
		s.Annotations[QuotaAnnotation] = strconv.FormatInt(r.CpuQuota, 10)
		s.Annotations[PeriodAnnotation] = strconv.FormatInt(r.CpuPeriod, 10)
	}
	return s
}

func mappings(list []*cri.IDMapping) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range list {
		out = append(out, specs.LinuxIDMapping{ContainerID: m.GetContainerId(), HostID: m.GetHostId(), Size: m.GetLength()})
	}
	return out
}

// cgroupsPath is where containerd would put the container: a folder, or with
// systemd's slices SLICE:PREFIX:NAME.
func cgroupsPath(parent, id string) string {
	if base := filepath.Base(parent); strings.HasSuffix(base, ".slice") {
		return base + ":cri-containerd:" + id
	}
	return filepath.Join(parent, id)
}

// podFiles are what containerd makes for a pod only with a container of its
// own; it tells the pod's containers of them by mounts.
var podFiles = []string{"hostname", "hosts", "resolv.conf"}

// PodFiles are the pod's, by their names in /etc.
func PodFiles(c *cri.PodSandboxConfig) map[string]string {
	dns := c.GetDnsConfig()
	var resolv strings.Builder
	line := func(words ...string) { resolv.WriteString(strings.Join(words, " ") + "\n") }
	if len(dns.GetSearches()) > 0 {
		line("search", strings.Join(dns.GetSearches(), " "))
	}
	for _, server := range dns.GetServers() {
		line("nameserver", server)
	}
	if len(dns.GetOptions()) > 0 {
		line("options", strings.Join(dns.GetOptions(), " "))
	}
	return map[string]string{
		"hostname":    c.GetHostname() + "\n",
		"hosts":       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
		"resolv.conf": resolv.String(),
	}
}

// MountPodFiles mounts in the container s the pod's files, which are in dir on
// the host, and if it shares the pod's IPC the memory that goes with it, but for
// what it has mounts of its own for.
func MountPodFiles(s *specs.Spec, dir string) {
	has, shares := map[string]bool{}, false
	for _, n := range s.Linux.Namespaces {
		shares = shares || n.Type == specs.IPCNamespace && n.Path != ""
	}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if has[m.Destination] = true; shares && m.Destination == "/dev/shm" && m.Type == "tmpfs" {
			m.Type, m.Source, m.Options = "bind", filepath.Join(dir, "shm"), []string{"rbind"}
		}
	}
	for _, name := range podFiles {
		if at := filepath.Join("/etc", name); !has[at] {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: at, Type: "bind", Source: filepath.Join(dir, name), Options: []string{"rbind"}})
		}
	}
}
