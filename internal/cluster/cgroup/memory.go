package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what the kernel counts as a group's and those below it, in bytes.
type Memory struct {
	// Used is all of it, the kernel's own structures too; Files is the part
	// that holds files, which it can drop when it is short.
	Used, Files int64
}

// Memory is what the group sub uses now.
func (t Tree) Memory(sub string) (Memory, error) {
	for _, h := range t.hierarchies {
		dir := filepath.Join(h.mountpoint, t.name, sub)
		used, prefix := "memory.usage_in_bytes", "total_"
		if h.v2 {
			used, prefix = "memory.current", ""
		}
		text, err := os.ReadFile(filepath.Join(dir, used))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a hierarchy without memory
		}
		if err != nil {
			return Memory{}, fmt.Errorf("memory of control group: %w", err)
		}
		stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
		if err != nil {
			return Memory{}, fmt.Errorf("memory of control group: %w", err)
		}
		all, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return Memory{Used: all, Files: field(stat, prefix+"inactive_file") + field(stat, prefix+"active_file")}, err
	}
	return Memory{}, fmt.Errorf("memory of control group: no hierarchy counts it for %s", filepath.Join(t.name, sub))
}

// field reads a line such as "inactive_file 4096"; what is not there is 0.
func field(stat []byte, name string) int64 {
	for line := range strings.Lines(string(stat)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
