// Package groups finds the control groups that a kubelet gives its pods.
package groups

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
)

// Mounts is where a machine has its control groups: the unified hierarchy, or a
// folder for each of version 1.
const Mounts = "/sys/fs/cgroup"

// maxDepth is how far below the kubelet's root a pod's group is at most: in
// slices or not, below an instance's own group, kubepods, and a class of service.
const maxDepth = 6

// ErrNone says that no control group is that of the pod.
var ErrNone = errors.New("the pod has no control group on this node")

// Find returns the folder of the group of the pod with that UID, below the folder
// of the kubelet's root in some hierarchy. The kubelet names it podUID, or for
// systemd with the names of the slices above before it and underscores in the UID.
func Find(root, uid string) (string, error) {
	if uid == "" {
		return "", ErrNone
	}
	dir, slice := "pod"+uid, "pod"+strings.ReplaceAll(uid, "-", "_")+".slice"
	var found string
	err := Each(root, func(path string) error {
		if name := filepath.Base(path); name == dir || name == slice || strings.HasSuffix(name, "-"+slice) {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && found == "" {
		err = ErrNone
	}
	return found, err
}

// Each calls back for the group of every pod. fs.SkipAll from there ends it.
func Each(root string, pod func(path string) error) error {
	top := strings.Count(root, "/")
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it ended meanwhile
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case isPod(d.Name()):
			if err := pod(path); err != nil {
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
