package pod

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestHostNamespacesAreRefused(t *testing.T) {
	own := []specs.LinuxNamespace{
		{Type: specs.NetworkNamespace, Path: "/run/netns/x"}, {Type: specs.PIDNamespace},
		{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
	}
	for field, lacks := range map[string]specs.LinuxNamespaceType{
		"hostNetwork": specs.NetworkNamespace, "hostPID": specs.PIDNamespace, "hostIPC": specs.IPCNamespace, "": "",
	} {
		s := &specs.Spec{Linux: &specs.Linux{}}
		for _, n := range own {
			if n.Type != lacks {
				s.Linux.Namespaces = append(s.Linux.Namespaces, n)
			}
		}
		err := new(Config).namespaces(s)
		if field == "" {
			if err != nil {
				t.Errorf("a pod with namespaces of its own: %v", err)
			}
		} else if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
