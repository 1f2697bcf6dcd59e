package shim

import (
	"strings"
	"testing"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
)

func TestArgumentsOfOlder(t *testing.T) {
	for _, test := range []struct {
		args string
		want *bootapi.BootstrapParams // nil is refused
	}{
		{"-namespace k8s.io -address /run/c.sock -publish-binary /bin/c -id pod start", &bootapi.BootstrapParams{Namespace: "k8s.io", ContainerdGrpcAddress: "/run/c.sock", InstanceID: "pod"}},
		{"-namespace k8s.io -address /run/c.sock -publish-binary /bin/c -id pod -bundle /b -debug start", &bootapi.BootstrapParams{Namespace: "k8s.io", ContainerdGrpcAddress: "/run/c.sock", InstanceID: "pod", LogLevel: bootapi.LogLevel_LOG_LEVEL_DEBUG}},
		{"-namespace k8s.io -address /run/c.sock start", nil},
		{"-namespace k8s.io -id pod start", nil},
		{"-address /run/c.sock -id pod start", nil},
		{"-unknown x -namespace k8s.io -address /run/c.sock -id pod start", nil},
	} {
		got, err := parseArguments(strings.Fields(test.args))
		if (err != nil) != (test.want == nil) {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		if w := test.want; w != nil && (got.InstanceID != w.InstanceID || got.Namespace != w.Namespace || got.ContainerdGrpcAddress != w.ContainerdGrpcAddress || got.LogLevel != w.LogLevel) {
			t.Errorf("%s: %v", test.args, got)
		}
	}
}
