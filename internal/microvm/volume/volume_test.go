package volume

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/wire"
)

// kubelet makes what the kubelet has for a pod below root.
func kubelet(t *testing.T) (pod string) {
	t.Helper()
	pod = filepath.Join(t.TempDir(), "pods", "uid")
	for _, dir := range []string{
		"volumes/kubernetes.io~configmap/settings/..data", "volumes/kubernetes.io~empty-dir/work/inner",
		"containers/app", "volumes/kubernetes.io~local-volume/disk",
	} {
		if err := os.MkdirAll(filepath.Join(pod, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"etc-hosts", "containers/app/0a1b2c", "other"} {
		if err := os.WriteFile(filepath.Join(pod, file), []byte("text"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return pod
}

func TestFor(t *testing.T) {
	pod := kubelet(t)
	for _, c := range []struct {
		source  string
		options []string
		kind    wire.VolumeKind
		inner   string
		back    bool
	}{
		{"volumes/kubernetes.io~configmap/settings", nil, wire.Copy, "", false},
		{"volumes/kubernetes.io~empty-dir/work", nil, wire.Scratch, "", false},
		{"volumes/kubernetes.io~empty-dir/work/inner", nil, wire.Scratch, "inner", false},
		{"etc-hosts", nil, wire.SingleFile, "", false},
		{"containers/app/0a1b2c", nil, wire.SingleFile, "", true},
		{"other", []string{"ro"}, wire.SingleFile, "", false},
	} {
		t.Run(c.source, func(t *testing.T) {
			p, err := For(specs.Mount{Destination: "/x", Source: filepath.Join(pod, c.source), Options: c.options})
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != c.kind || p.Path != c.inner || p.WriteBack != c.back {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestForRefusesTheHosts(t *testing.T) {
	pod := kubelet(t)
	for _, source := range []string{pod, filepath.Join(pod, "volumes/kubernetes.io~local-volume/disk"), filepath.Join(pod, "other")} {
		if p, err := For(specs.Mount{Destination: "/x", Source: source}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %+v, %v", source, p, err)
		}
	}
}

func TestReadFollowsNoLink(t *testing.T) {
	root := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	v, err := Plan{Kind: wire.Copy, Source: root}.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Entries) != 1 || v.Entries[0].Kind != wire.Symlink || string(v.Entries[0].Data) != "/etc/passwd" {
		t.Errorf("got %+v", v.Entries)
	}
}
