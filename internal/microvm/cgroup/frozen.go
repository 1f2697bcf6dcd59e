package cgroup

import (
	"bytes"
	"os"
	"path/filepath"
)

// frozen are the files of either version that say whether a group's processes
// stand still, whichever group above them was told to, and the line for yes.
var frozen = map[string]string{"freezer.state": "FROZEN", "cgroup.events": "frozen 1"}

// Frozen says whether the group's processes stand still.
func (g Group) Frozen() bool {
	if g.path == "" {
		return false
	}
	found := false
	_ = each(func(root string) error {
		for file, yes := range frozen {
			content, _ := os.ReadFile(filepath.Join(root, g.path, file)) // the other version has none
			for line := range bytes.Lines(content) {
				found = found || string(bytes.TrimSpace(line)) == yes
			}
		}
		return nil
	})
	return found
}
