package spec

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func kinds(s *specs.Spec) map[specs.LinuxNamespaceType]string {
	has := map[specs.LinuxNamespaceType]string{}
	for _, n := range s.Linux.Namespaces {
		has[n.Type] = n.Path
	}
	return has
}

func TestSandbox(t *testing.T) {
	users := &cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: []*cri.IDMapping{{HostId: 7, Length: 9}}, Gids: []*cri.IDMapping{{HostId: 8, Length: 9}}}
	s := Sandbox("id", "/netns", &cri.PodSandboxConfig{Hostname: "box", Linux: &cri.LinuxPodSandboxConfig{
		CgroupParent: "/kubepods/pod1", Sysctls: map[string]string{"a": "b"},
		SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{UsernsOptions: users}},
		Resources:       &cri.LinuxContainerResources{MemoryLimitInBytes: 5, CpuQuota: 6, CpuPeriod: 7},
	}})
	if has := kinds(s); len(has) != 4 || has[specs.NetworkNamespace] != "/netns" {
		t.Errorf("namespaces: %v", has)
	}
	if s.Hostname != "box" || s.Linux.CgroupsPath != "/kubepods/pod1/id" || s.Linux.Sysctl["a"] != "b" {
		t.Errorf("got %+v, %+v", s, s.Linux)
	}
	if s.Annotations[MemoryAnnotation] != "5" || s.Annotations[QuotaAnnotation] != "6" || s.Annotations[PeriodAnnotation] != "7" {
		t.Errorf("annotations: %v", s.Annotations)
	}
	if u, err := Users(s); err != nil || u.UIDs[0].Outside != 7 || u.GIDs[0].Outside != 8 {
		t.Errorf("users: %v, %v", u, err)
	}
}

// What is the host's stays so, to be refused, and is never the pod's own instead.
func TestSandboxOfTheHost(t *testing.T) {
	host := &cri.NamespaceOption{
		Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_NODE, Ipc: cri.NamespaceMode_NODE,
		UsernsOptions: &cri.UserNamespace{Mode: cri.NamespaceMode_NODE},
	}
	s := Sandbox("id", "", &cri.PodSandboxConfig{Linux: &cri.LinuxPodSandboxConfig{
		SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: host},
	}})
	if has := kinds(s); len(has) != 0 {
		t.Errorf("namespaces: %v", has)
	}
}

func TestMountPodFiles(t *testing.T) {
	s := pod(specs.IPCNamespace)
	s.Mounts = []specs.Mount{
		{Destination: "/etc/hosts", Type: "bind", Source: "/own"}, {Destination: "/dev/shm", Type: "tmpfs", Source: "shm"},
	}
	MountPodFiles(s, "/pod")
	if m := s.Mounts[1]; m.Source != "shm" {
		t.Errorf("a container with IPC of its own has the memory %s", m.Source)
	}
	s.Linux.Namespaces[0].Path = "/proc/7/ns/ipc"
	MountPodFiles(s, "/pod")
	from := map[string]string{}
	for _, m := range s.Mounts {
		from[m.Destination] = m.Source
	}
	if len(from) != 4 || from["/etc/hosts"] != "/own" || from["/etc/resolv.conf"] != "/pod/resolv.conf" || from["/dev/shm"] != "/pod/shm" {
		t.Errorf("mounts from %v", from)
	}
}
