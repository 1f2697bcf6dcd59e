package volume

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/microvm/share"
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

// TestForSharedMemory tells the pod's own, which the guest makes, from a volume
// that has its name.
func TestForSharedMemory(t *testing.T) {
	volume := filepath.Join(kubelet(t), "volumes/kubernetes.io~empty-dir/shm")
	if err := os.MkdirAll(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	for source, own := range map[string]bool{
		"/run/containerd/io.containerd.grpc.v1.cri/sandboxes/0a1b2c/shm": true,
		volume: false,
	} {
		p, err := For(specs.Mount{Destination: "/dev/shm", Source: source})
		if err != nil || p.Kind != wire.Scratch || (p.ID == "shm") != own {
			t.Errorf("%s: got %+v, %v", source, p, err)
		}
	}
}

func TestForSharesFolders(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		options []string
		want    share.Folder
	}{
		{nil, share.Folder{Path: dir, ReadOnly: share.Nothing}},
		{[]string{"rbind", "rprivate", "ro"}, share.Folder{Path: dir, ReadOnly: share.Top}},
		{[]string{"rbind", "rro"}, share.Folder{Path: dir, ReadOnly: share.Everything}},
		{[]string{"rbind", "rslave", "rw"}, share.Folder{Path: dir, ReadOnly: share.Nothing, Follow: true}},
	} {
		p, err := For(specs.Mount{Destination: "/x", Source: dir, Options: c.options})
		if err != nil || p.Kind != wire.Share || p.Folder != c.want {
			t.Errorf("%q: got %+v, %v", c.options, p, err)
		}
	}
}

func TestForRefuses(t *testing.T) {
	pod := kubelet(t)
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for _, m := range []specs.Mount{
		{Source: filepath.Join(pod, "other")},
		{Source: pod, Options: []string{"rshared"}},
		{Source: socket.Addr().String()},
	} {
		m.Destination = "/x"
		if p, err := For(m); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: got %+v, %v", m, p, err)
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
