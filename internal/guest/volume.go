package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

const volumesDir = stateDir + "/volumes"

// volume is one that containers mount by name.
type volume struct {
	kind wire.VolumeKind
	path string // a folder, or the file
	// requests are the kernel's for a shared folder, until they are carried.
	requests *os.File
}

// putVolume makes a volume or brings its content up to date.
func (a *agent) putVolume(v *wire.Volume) (*wire.Empty, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := valid(v.ID); err != nil {
		return nil, err
	}
	a.users.own(v)
	made, exists := a.volumes[v.ID]
	if exists && made.kind != v.Kind {
		return nil, fmt.Errorf("%w: volume %s is of another kind", errdefs.ErrAlreadyExists, v.ID)
	}
	if !exists {
		made = &volume{kind: v.Kind, path: filepath.Join(volumesDir, v.ID)}
		if err := a.makeVolume(made, v); err != nil {
			return nil, fmt.Errorf("make volume %s: %w", v.ID, err)
		}
		a.volumes[v.ID] = made
	}
	if err := fill(made, v); err != nil {
		return nil, fmt.Errorf("fill volume %s: %w", v.ID, err)
	}
	return &wire.Empty{}, nil
}

// makeVolume makes a volume's folder. The agent's lock is held.
func (a *agent) makeVolume(made *volume, v *wire.Volume) error {
	switch v.Kind {
	case wire.Image:
		return a.mountImage(made.path, v.Layers)
	case wire.Share:
		var err error
		made.requests, err = mountShare(made.path)
		return err
	case wire.SingleFile:
		return nil
	case wire.Copy:
		if err := os.Mkdir(made.path, 0o700); err != nil {
			return err
		}
	case wire.Scratch:
		if err := os.Mkdir(made.path, 0o700); err != nil {
			return err
		}
		options := ""
		if v.Size > 0 {
			options = fmt.Sprintf("size=%d", v.Size)
		}
		if err := unix.Mount("tmpfs", made.path, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: kind %d", errdefs.ErrInvalidArgument, v.Kind)
	}
	return own(made.path, v.Mode, v.UID, v.GID)
}

// mountImage mounts an image's layers, one over the other, at dir.
func (a *agent) mountImage(dir string, layers []uint32) error {
	lower, err := a.mountLayers(layers)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	switch len(lower) {
	case 0:
		return fmt.Errorf("%w: an image has layers", errdefs.ErrInvalidArgument)
	case 1: // an overlay would want two
		return unix.Mount(lower[0], dir, "", unix.MS_BIND, "")
	}
	return unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY|unix.MS_NODEV, "lowerdir="+strings.Join(lower, ":"))
}

// own sets a file's owner and all permission bits, the special ones too.
func own(path string, mode, uid, gid uint32) error {
	if err := os.Lchown(path, int(uid), int(gid)); err != nil {
		return err
	}
	return unix.Chmod(path, mode&0o7777)
}

// fill makes the volume's content the entries: files are replaced whole, by
// renaming, so that readers see the old or the new one.
func fill(made *volume, v *wire.Volume) error {
	switch v.Kind {
	case wire.Scratch, wire.Image, wire.Share:
		return nil
	case wire.SingleFile:
		if len(v.Entries) != 1 {
			return fmt.Errorf("%w: a file has one entry", errdefs.ErrInvalidArgument)
		}
		return rewrite(made.path, &v.Entries[0])
	}
	wanted := map[string]bool{}
	for i := range v.Entries {
		e := &v.Entries[i]
		if !filepath.IsLocal(e.Path) {
			return fmt.Errorf("%w: path %q leads out of the volume", errdefs.ErrInvalidArgument, e.Path)
		}
		wanted[filepath.Clean(e.Path)] = true
		if err := put(filepath.Join(made.path, e.Path), e); err != nil {
			return err
		}
	}
	return prune(made.path, wanted)
}

func put(path string, e *wire.Entry) error {
	switch e.Kind {
	case wire.Folder:
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return own(path, e.Mode, e.UID, e.GID)
	case wire.Symlink:
		temporary := path + ".new"
		_ = os.Remove(temporary)
		if err := os.Symlink(string(e.Data), temporary); err != nil {
			return err
		}
		if err := os.Lchown(temporary, int(e.UID), int(e.GID)); err != nil {
			return err
		}
		return os.Rename(temporary, path)
	case wire.File:
		temporary := path + ".new"
		if err := os.WriteFile(temporary, e.Data, 0o600); err != nil {
			return err
		}
		if err := own(temporary, e.Mode, e.UID, e.GID); err != nil {
			return err
		}
		return os.Rename(temporary, path)
	}
	return fmt.Errorf("%w: entry of kind %d", errdefs.ErrInvalidArgument, e.Kind)
}

// rewrite changes a file in place: containers have mounted the file itself.
func rewrite(path string, e *wire.Entry) error {
	if err := os.WriteFile(path, e.Data, 0o600); err != nil {
		return err
	}
	return own(path, e.Mode, e.UID, e.GID)
}

// prune removes what is not wanted any more.
func prune(root string, wanted map[string]bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if rel, _ := filepath.Rel(root, path); wanted[rel] {
			return nil
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if d.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
}

// volumeTree opens what m mounts, with m's restrictions.
func (a *agent) volumeTree(m wire.Mount) (_ int, err error) {
	v, ok := a.volumes[m.Volume]
	if !ok {
		return -1, fmt.Errorf("%w: volume %s", errdefs.ErrNotFound, m.Volume)
	}
	// A path in a volume goes through what containers wrote there.
	at, err := unix.Openat2(unix.AT_FDCWD, v.path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	if m.Path != "" {
		how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
		if v.kind == wire.Scratch {
			makeInner(v.path, m.Path)
		}
		inner, err := unix.Openat2(at, m.Path, how)
		if err != nil {
			return -1, fmt.Errorf("path %s in the volume: %w", m.Path, err)
		}
		defer unix.Close(inner)
		at = inner
	}
	tree, err := unix.OpenTree(at, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, err
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attributes(m.Flags)}); err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// makeInner makes a folder in a volume, as the kubelet did in the host's: with
// the volume's own permissions and owner, and so for those who may use it. What
// cannot be made is found missing by who opens it.
func makeInner(volume, inner string) {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return
	}
	made := "."
	for part := range strings.SplitSeq(filepath.Clean(inner), "/") {
		made = filepath.Join(made, part)
		if root.Mkdir(made, 0o700) == nil {
			owner := info.Sys().(*syscall.Stat_t)
			_ = root.Lchown(made, int(owner.Uid), int(owner.Gid))
			_ = root.Chmod(made, info.Mode())
		}
	}
}

// attributes are the MOUNT_ATTR_ flags for mount(2)'s.
func attributes(flags uint64) uint64 {
	attr := uint64(0)
	for ms, a := range map[uint64]uint64{
		unix.MS_RDONLY: unix.MOUNT_ATTR_RDONLY, unix.MS_NOSUID: unix.MOUNT_ATTR_NOSUID,
		unix.MS_NODEV: unix.MOUNT_ATTR_NODEV, unix.MS_NOEXEC: unix.MOUNT_ATTR_NOEXEC,
	} {
		if flags&ms != 0 {
			attr |= a
		}
	}
	return attr
}

// getFile reads a volume that is one file.
func (a *agent) getFile(r *wire.Ref) (*wire.Content, error) {
	a.mu.Lock()
	v, ok := a.volumes[r.ID]
	a.mu.Unlock()
	if !ok || v.kind != wire.SingleFile {
		return nil, fmt.Errorf("%w: file %s", errdefs.ErrNotFound, r.ID)
	}
	f, err := os.Open(v.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, wire.MaxContent))
	return &wire.Content{Data: data}, err
}
