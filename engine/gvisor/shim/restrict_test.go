package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/api/types"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestRestrict(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"bin", "data"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "ls"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	rootfs := []*types.Mount{{Type: "bind", Source: root, Options: []string{"rbind", "ro"}}}
	b := bundle{dir: t.TempDir(), spec: specs.Spec{Linux: &specs.Linux{
		MaskedPaths:   []string{"/proc/kcore", "/bin/ls", "/data", "/none"},
		ReadonlyPaths: []string{"/proc/sys", "/data"},
	}}}
	if err := b.restrict(t.Context(), rootfs); err != nil {
		t.Fatal(err)
	}
	want := []specs.Mount{
		{Destination: "/bin/ls", Type: "bind", Source: b.path("masked")},
		{Destination: "/data", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/data", Type: "bind", Source: filepath.Join(b.path("rootfs"), "data")},
	}
	if len(b.spec.Mounts) != len(want) {
		t.Fatalf("got %+v", b.spec.Mounts)
	}
	for i, m := range b.spec.Mounts {
		m.Options = nil
		if m.Destination != want[i].Destination || m.Type != want[i].Type || m.Source != want[i].Source {
			t.Errorf("got %+v, want %+v", m, want[i])
		}
	}
	b.spec.Linux.ReadonlyPaths = []string{"/link/passwd"}
	if err := b.restrict(t.Context(), rootfs); err == nil {
		t.Error("a path through a link is taken")
	}
}
