package volume

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/wire"
)

// imageVolumes is the folder in which containerd's CRI mounts the images that
// pods have as volumes: image-volumes/POD/IMAGE.
const imageVolumes = "/image-volumes/"

// image plans a mount of an image. containerd has mounted its layers on the
// host, but nothing there is shared: the guest gets the same files as disks,
// as it does for root file systems.
func image(m specs.Mount) (Plan, error) {
	if !slices.Contains(m.Options, "ro") {
		return Plan{}, fmt.Errorf("%w: volume at %s: an image can only be mounted read-only", errdefs.ErrInvalidArgument, m.Destination)
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return Plan{}, fmt.Errorf("volume at %s: find the image's layers: %w", m.Destination, err)
	}
	root := imageRoot(m.Source)
	files := layersOf(root, mounts)
	if len(files) == 0 {
		return Plan{}, fmt.Errorf("%w: volume at %s: a microVM takes images of containerd's erofs snapshotter only, and not with hostUsers: false; set snapshotter = \"erofs\" for the runtime, or leave hostUsers out",
			errdefs.ErrFailedPrecondition, m.Destination)
	}
	inner, err := filepath.Rel(root, m.Source)
	if err != nil {
		return Plan{}, err
	}
	if inner == "." {
		inner = ""
	}
	return Plan{ID: id(root), Path: inner, Kind: wire.Image, Source: root, Layers: files}, nil
}

// imageRoot cuts a path within an image's volume off after the image's name.
func imageRoot(path string) string {
	before, after, _ := strings.Cut(path, imageVolumes)
	parts := strings.SplitN(after, "/", 3)
	return before + imageVolumes + strings.Join(parts[:min(2, len(parts))], "/")
}

// layersOf lists the files of the layers that are mounted at root, the topmost
// first: an overlay of erofs mounts. Anything else is none.
func layersOf(root string, mounts []*mountinfo.Info) []string {
	lower := map[string]string{} // erofs files by mount point
	var overlay *mountinfo.Info
	for _, m := range mounts {
		switch {
		case m.FSType == "erofs":
			lower[m.Mountpoint] = m.Source
		case m.FSType == "overlay" && m.Mountpoint == root:
			overlay = m
		}
	}
	if overlay == nil {
		return nil
	}
	var files []string
	for _, dir := range lowerDirs(overlay.VFSOptions) {
		file, ok := lower[dir]
		if !ok {
			return nil
		}
		files = append(files, file)
	}
	return files
}

// lowerDirs reads an overlay's options, in either of the ways in which the
// kernel tells its layers.
func lowerDirs(options string) []string {
	var dirs []string
	for o := range strings.SplitSeq(options, ",") {
		if list, ok := strings.CutPrefix(o, "lowerdir="); ok {
			dirs = append(dirs, strings.Split(list, ":")...)
		} else if dir, ok := strings.CutPrefix(o, "lowerdir+="); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
