package freezer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxDepth is how far below the root a pod's group is at most: in slices or
// not, below an instance's own group, kubepods, and a class of service.
const maxDepth = 6

// ErrNoGroup says that no control group is that of the pod.
var ErrNoGroup = errors.New("the pod has no control group on this node")

// hierarchy is the control groups of a kubelet's pods.
type hierarchy struct {
	dir string // of the kubelet's root, in the hierarchy that freezes
	v1  bool
}

// newHierarchy is the part below root, a path in the hierarchy.
func newHierarchy(root string) (hierarchy, error) {
	h := hierarchy{dir: unified}
	if _, err := os.Stat(freezerV1); err == nil {
		h = hierarchy{dir: freezerV1, v1: true}
	}
	h.dir = filepath.Join(h.dir, root)
	if _, err := os.Stat(h.dir); err != nil {
		return h, fmt.Errorf("control group %q: %w", root, err)
	}
	return h, nil
}

// find returns the group of the pod with that UID. The kubelet names it
// podUID, or for systemd with the names of the slices above before it and
// underscores in the UID.
func (h hierarchy) find(uid string) (group, error) {
	if uid == "" {
		return group{}, ErrNoGroup
	}
	dir, slice := "pod"+uid, "pod"+strings.ReplaceAll(uid, "-", "_")+".slice"
	var found string
	err := h.pods(func(path string) error {
		if name := filepath.Base(path); name == dir || name == slice || strings.HasSuffix(name, "-"+slice) {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return group{}, err
	}
	if found == "" {
		return group{}, ErrNoGroup
	}
	return h.group(found), nil
}

// thawAll thaws every pod's group.
func (h hierarchy) thawAll() error {
	return h.pods(func(path string) error { return h.group(path).Thaw() })
}

// pods calls back for the group of every pod.
func (h hierarchy) pods(each func(path string) error) error {
	top := strings.Count(h.dir, "/")
	return filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it ended meanwhile
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case isPod(d.Name()):
			if err := each(path); err != nil {
				return err
			}
			return fs.SkipDir
		case strings.Count(path, "/")-top >= maxDepth:
			return fs.SkipDir
		}
		return nil
	})
}

// isPod tells a pod's group, which has the 36 characters of a UUID in its name,
// from others.
func isPod(name string) bool {
	name = strings.TrimSuffix(name, ".slice")
	at := strings.LastIndex(name, "pod")
	return at >= 0 && len(name)-at-len("pod") == 36
}
