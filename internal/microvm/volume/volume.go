// Package volume decides what a folder or file of the host that a pod mounts
// becomes in the virtual machine, and reads what is copied into it.
//
// What Kubernetes writes
// for a pod (ConfigMaps, Secrets, tokens, the downward API, host names) is
// copied in and kept in step. An emptyDir is a folder in the guest, shared by
// the pod's containers there. An image is a stack of read-only disks. Any other
// folder is shared, through a process that sees nothing else of the host
// (package share). What remains is refused, naming the volume.
package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/microvm/share"
	"redoubt.dev/redoubt/internal/wire"
)

// Plan is what one mount becomes.
type Plan struct {
	// ID names the volume in the guest: the same for every mount of the same
	// source in a pod.
	ID string
	// Path is what of the volume is mounted; empty is all of it.
	Path string
	Kind wire.VolumeKind
	// Source is the folder or file on the host.
	Source string
	// WriteBack says that what the container writes to the file is wanted on
	// the host when the container has ended: its termination message.
	WriteBack bool
	// Size limits an emptyDir in memory, in bytes; 0 is no limit of its own.
	Size uint64
	// Layers are the files of an image's layers, the topmost first.
	Layers []string
	// Folder is what is shared.
	Folder share.Folder
}

// Names of folders that the kubelet gives a pod's volumes, below pods/UID
// (k8s.io/kubernetes/pkg/kubelet/config and each volume plugin).
var copied = []string{
	"kubernetes.io~configmap", "kubernetes.io~secret", "kubernetes.io~projected", "kubernetes.io~downward-api",
}

const (
	scratch  = "kubernetes.io~empty-dir"
	subpaths = "volume-subpaths"
)

// For plans a mount of the host's.
func For(m specs.Mount) (Plan, error) {
	if m.Destination == "/dev/shm" && filepath.Base(m.Source) == "shm" && !isPodVolume(m.Source) {
		return Plan{ID: "shm", Kind: wire.Scratch, Source: m.Source}, nil
	}
	if strings.Contains(m.Source, imageVolumes) {
		return image(m)
	}
	source, err := original(m.Source)
	if err != nil {
		return Plan{}, fmt.Errorf("volume at %s: %w", m.Destination, err)
	}
	info, err := os.Stat(m.Source)
	if err != nil {
		return Plan{}, fmt.Errorf("volume at %s: %w", m.Destination, err)
	}
	if root, inner, ok := split(source, scratch); ok {
		return Plan{ID: id(root), Path: inner, Kind: wire.Scratch, Source: root, Size: sizeOf(root)}, nil
	}
	if info.Mode().IsRegular() {
		return file(m)
	}
	for _, plugin := range copied {
		if root, inner, ok := split(source, plugin); ok {
			return Plan{ID: id(root), Path: inner, Kind: wire.Copy, Source: root}, nil
		}
	}
	if info.IsDir() {
		return shared(m)
	}
	return Plan{}, fmt.Errorf("%w: volume at %s: the host's %s is neither a folder nor a file, and cannot be mounted in a microVM; use another RuntimeClass",
		errdefs.ErrInvalidArgument, m.Destination, m.Source)
}

// shared plans a mount of a folder of the host's.
func shared(m specs.Mount) (Plan, error) {
	f := share.Folder{Path: m.Source, ReadOnly: share.Nothing}
	for _, o := range m.Options {
		switch o {
		case "ro":
			f.ReadOnly = share.Top
		case "rro":
			f.ReadOnly = share.Everything
		case "slave", "rslave":
			f.Follow = true
		case "shared", "rshared":
			return Plan{}, fmt.Errorf("%w: volume at %s: mountPropagation: Bidirectional: what a microVM mounts cannot appear on the host; use HostToContainer or another RuntimeClass",
				errdefs.ErrInvalidArgument, m.Destination)
		}
	}
	return Plan{ID: id(fmt.Sprint(f)), Kind: wire.Share, Source: m.Source, Folder: f}, nil
}

// file plans a mount of one file, which is copied. Only the kubelet's
// termination message is copied back.
func file(m specs.Mount) (Plan, error) {
	p := Plan{ID: id(m.Source), Kind: wire.SingleFile, Source: m.Source, WriteBack: isTerminationMessage(m.Source)}
	if p.WriteBack || slices.Contains(m.Options, "ro") || isPodFile(m.Source) {
		return p, nil
	}
	return p, fmt.Errorf("%w: volume at %s: the host's file %s cannot be written from a microVM; mount it with readOnly: true",
		errdefs.ErrInvalidArgument, m.Destination, m.Source)
}

// isTerminationMessage: pods/UID/containers/NAME/HEX.
func isTerminationMessage(path string) bool { return isOfPod(path, "containers") }

// isPodVolume: pods/UID/volumes/PLUGIN/NAME.
func isPodVolume(path string) bool { return isOfPod(path, "volumes") }

// isOfPod says whether a path ends with pods/UID/KIND and two names more.
func isOfPod(path, kind string) bool {
	parts := strings.Split(path, "/")
	n := len(parts)
	return n >= 5 && parts[n-3] == kind && parts[n-5] == "pods"
}

// isPodFile: a file made for this pod alone, which it may write in its own
// copy: pods/UID/etc-hosts, the sandbox's hostname and resolv.conf, a subPath.
func isPodFile(path string) bool {
	switch filepath.Base(path) {
	case "etc-hosts", "hostname", "resolv.conf", "hosts":
		return true
	}
	return strings.Contains(path, "/"+subpaths+"/")
}

// split divides .../PLUGIN/NAME/inner after the volume's name.
func split(path, plugin string) (root, inner string, ok bool) {
	before, after, ok := strings.Cut(path, "/"+plugin+"/")
	if !ok {
		return "", "", false
	}
	name, inner, _ := strings.Cut(after, "/")
	return before + "/" + plugin + "/" + name, inner, name != ""
}

// original is the folder that the kubelet bound for a subPath; other paths are
// themselves.
func original(path string) (string, error) {
	if !strings.Contains(path, "/"+subpaths+"/") {
		return path, nil
	}
	found, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	if err != nil {
		return "", fmt.Errorf("find the volume of subPath %s: %w", path, err)
	}
	if len(found) == 0 {
		return path, nil
	}
	return rebase(path, found[0])
}

// rebase finds the path of what is bound at m. The root that the kernel tells
// is relative to its file system; the pod's own folder places it.
func rebase(path string, m *mountinfo.Info) (string, error) {
	pod, _, _ := strings.Cut(path, "/"+subpaths+"/")
	if _, inner, ok := strings.Cut(m.Root, "/"+filepath.Base(pod)+"/"); ok {
		return filepath.Join(pod, inner), nil
	}
	// An emptyDir in memory is a file system of its own, mounted in the pod.
	mounts, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.Major != m.Major || i.Minor != m.Minor || !strings.HasPrefix(i.Mountpoint, pod+"/volumes/"), false
	})
	if err != nil || len(mounts) == 0 {
		return path, err
	}
	return filepath.Join(mounts[0].Mountpoint, m.Root), nil
}

// sizeOf is the limit of an emptyDir in memory: the kubelet has mounted one of
// that size.
func sizeOf(path string) uint64 {
	found, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	if err != nil || len(found) == 0 || found[0].FSType != "tmpfs" {
		return 0
	}
	var st syscall.Statfs_t
	if syscall.Statfs(path, &st) != nil {
		return 0
	}
	return st.Blocks * uint64(st.Bsize)
}

func id(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:12])
}

// Read reads the volume as the guest gets it.
func (p Plan) Read() (*wire.Volume, error) {
	v := &wire.Volume{ID: p.ID, Kind: p.Kind, Size: p.Size}
	info, err := os.Lstat(p.Source)
	if err != nil {
		return nil, fmt.Errorf("read volume: %w", err)
	}
	v.Mode, v.UID, v.GID = owner(info)
	switch p.Kind {
	case wire.Scratch, wire.Image, wire.Share:
		return v, nil
	case wire.SingleFile:
		e, err := entry(p.Source, "", info)
		if err != nil {
			return nil, err
		}
		v.Entries = []wire.Entry{e}
		return v, nil
	}
	v.Entries, err = tree(p.Source)
	return v, err
}

// maxContent is the largest volume that is copied, in bytes: what fits a
// request, with room for names.
const maxContent = wire.MaxRequest - 2<<20

// tree reads a folder without following links.
func tree(root string) ([]wire.Entry, error) {
	var entries []wire.Entry
	total := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		e, err := entry(path, rel, info)
		if err != nil {
			return err
		}
		if total += len(e.Data); total > maxContent {
			return fmt.Errorf("%w: volume %s holds more than the %d MiB that can be copied into a microVM", errdefs.ErrInvalidArgument, root, maxContent>>20)
		}
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

func entry(path, rel string, info fs.FileInfo) (wire.Entry, error) {
	e := wire.Entry{Path: rel}
	e.Mode, e.UID, e.GID = owner(info)
	var err error
	switch {
	case info.IsDir():
		e.Kind = wire.Folder
	case info.Mode()&fs.ModeSymlink != 0:
		var target string
		target, err = os.Readlink(path)
		e.Kind, e.Data = wire.Symlink, []byte(target)
	case info.Mode().IsRegular():
		if info.Size() > maxContent {
			return e, fmt.Errorf("%w: file %s is larger than the %d MiB that can be copied into a microVM", errdefs.ErrInvalidArgument, path, maxContent>>20)
		}
		e.Kind = wire.File
		e.Data, err = os.ReadFile(path)
	default:
		return e, fmt.Errorf("%w: %s is neither a file, a folder nor a link", errdefs.ErrInvalidArgument, path)
	}
	return e, err
}

// owner is a file's permission bits, special ones too, and owners.
func owner(info fs.FileInfo) (mode, uid, gid uint32) {
	st := info.Sys().(*syscall.Stat_t)
	return st.Mode & 0o7777, st.Uid, st.Gid
}
