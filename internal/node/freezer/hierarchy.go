package freezer

import (
	"fmt"
	"os"
	"path/filepath"

	"redoubt.dev/redoubt/internal/node/groups"
)

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

// find returns the group of the pod with that UID.
func (h hierarchy) find(uid string) (group, error) {
	dir, err := groups.Find(h.dir, uid)
	if err != nil {
		return group{}, err
	}
	return h.group(dir), nil
}

// thawAll thaws every pod's group.
func (h hierarchy) thawAll() error {
	return groups.Each(h.dir, func(dir string) error { return h.group(dir).Thaw() })
}
