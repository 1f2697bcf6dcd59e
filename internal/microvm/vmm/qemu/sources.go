package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sources are files that a root was made from, one a line, as they were then.
type sources string

// sourcesFile keeps them in the root.
const sourcesFile = "made-from"

// describe identifies files without reading them: a package that is upgraded
// replaces them, which changes their inode and time.
func describe(paths ...string) (sources, error) {
	var lines strings.Builder
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return "", fmt.Errorf("guest image: %w", &os.PathError{Op: "stat", Path: path, Err: err})
		}
		fmt.Fprintf(&lines, "%d %d %d %d %s\n", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), path)
	}
	return sources(lines.String()), nil
}

// key names the sources in 16 hexadecimal digits.
func (s sources) key() string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

func (s sources) write(root string) error {
	return os.WriteFile(filepath.Join(root, sourcesFile), []byte(s), 0o444)
}

// replaced says whether any of the files is not what it was.
func (s sources) replaced() bool {
	var paths []string
	for line := range strings.Lines(string(s)) {
		if fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5); len(fields) == 5 {
			paths = append(paths, fields[4])
		}
	}
	now, err := describe(paths...)
	return err != nil || now != s
}

// Sweep removes the roots below dir whose files were replaced or are gone, and
// returns their keys. Machines that run from one go on.
func Sweep(dir string) (keys []string, err error) {
	entries, err := filepath.Glob(filepath.Join(dir, "*", sourcesFile))
	if err != nil {
		return nil, err
	}
	for _, file := range entries {
		from, readErr := os.ReadFile(file)
		if readErr != nil || !sources(from).replaced() {
			continue
		}
		root := filepath.Dir(file)
		if removeErr := os.RemoveAll(root); removeErr != nil {
			err = errors.Join(err, removeErr)
			continue
		}
		keys = append(keys, filepath.Base(root))
	}
	return keys, err
}
