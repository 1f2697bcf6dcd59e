package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// restrict makes mounts of the specification's masked and read-only paths,
// which gVisor leaves out. Those of the kernel's files it may leave out: in
// /proc and /sys a container finds what the sandbox's kernel shows it, not the
// host's. Others are the image's, and are looked at to know what they are.
func (b *bundle) restrict(ctx context.Context, rootfs []*types.Mount) error {
	if b.isSandbox() || b.spec.Linux == nil {
		return nil
	}
	masked, readOnly := ofImage(b.spec.Linux.MaskedPaths), ofImage(b.spec.Linux.ReadonlyPaths)
	if len(masked)+len(readOnly) == 0 {
		return nil
	}
	err := mount.WithTempMount(ctx, mount.FromProto(rootfs), func(root string) error {
		return errors.Join(b.each(root, masked, b.mask), b.each(root, readOnly, b.protect))
	})
	if err != nil {
		return fmt.Errorf("masked and read-only paths: %w", err)
	}
	return b.save()
}

// ofImage leaves out the kernel's files.
func ofImage(paths []string) []string {
	var some []string
	for _, p := range paths {
		p = path.Clean("/" + p)
		if !strings.HasPrefix(p, "/proc/") && !strings.HasPrefix(p, "/sys/") && p != "/proc" && p != "/sys" {
			some = append(some, p)
		}
	}
	return some
}

// each adds a mount for every path that there is.
func (b *bundle) each(root string, paths []string, of func(path string, info fs.FileInfo) (specs.Mount, error)) error {
	for _, p := range paths {
		info, err := find(root, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m, err := of(p, info)
		if err != nil {
			return err
		}
		b.spec.Mounts = append(b.spec.Mounts, m)
	}
	return nil
}

// find looks at a path in root. A link on the way is refused: the mount's
// source would be found through it on the host.
func find(root, p string) (info fs.FileInfo, err error) {
	at := root
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		at = filepath.Join(at, part)
		if info, err = os.Lstat(at); err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%s: a part of it is a symbolic link; name what it leads to", p)
		}
	}
	return info, nil
}

// mask mounts what reads as empty.
func (b *bundle) mask(p string, info fs.FileInfo) (specs.Mount, error) {
	if info.IsDir() {
		return specs.Mount{Destination: p, Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "nosuid", "nodev", "noexec"}}, nil
	}
	empty := b.path("masked")
	if err := os.WriteFile(empty, nil, 0o444); err != nil {
		return specs.Mount{}, err
	}
	return specs.Mount{Destination: p, Type: "bind", Source: empty, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"}}, nil
}

// protect mounts the path's own content without leave to write.
func (b *bundle) protect(p string, _ fs.FileInfo) (specs.Mount, error) {
	return specs.Mount{Destination: p, Type: "bind", Source: filepath.Join(b.path("rootfs"), p), Options: []string{"rbind", "ro"}}, nil
}
