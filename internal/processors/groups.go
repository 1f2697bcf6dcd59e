package processors

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrOwn says that some group below has processors of its own, as the kubelet's
// policy "static" gives them.
var ErrOwn = errors.New("its containers have processors of their own")

// ErrNone says that groups have no processors of their own on this machine.
var ErrNone = errors.New("the kernel's control groups have no cpuset controller; mount it, or enable it for the groups above")

// Version 1 of control groups says what a group was given, version 2 also what
// that comes to.
const (
	given     = "cpuset.cpus"
	effective = "cpuset.cpus.effective"
)

// Of are the processors that the control group with that folder may use; none,
// in version 1, while it is being made.
func Of(dir string) (Set, error) {
	s, _, err := of(dir)
	return s, err
}

func of(dir string) (s Set, v1 bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, effective))
	if errors.Is(err, fs.ErrNotExist) {
		v1 = true
		text, err = os.ReadFile(filepath.Join(dir, given))
	}
	if err != nil || v1 && strings.TrimSpace(string(text)) == "" {
		return nil, v1, err
	}
	s, err = Parse(string(text))
	return s, v1, err
}

// Allow lets a control group and those below use these processors and no others.
// In version 1 a group may have none that the one above has not, so all are
// changed, those below first where it is fewer; where they differ it is ErrOwn.
func Allow(dir string, s Set) error {
	had, v1, err := of(dir)
	if err != nil || slices.Equal(had, s) {
		return err
	}
	dirs := []string{dir}
	if v1 {
		if dirs, err = alike(dir, had); err != nil {
			return err
		}
	}
	if len(s) < len(had) {
		slices.Reverse(dirs)
	}
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, given), []byte(s.String()), 0); err != nil {
			return err
		}
	}
	return nil
}

// alike are a group and all below it, which have the same processors.
func alike(dir string, had Set) (dirs []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		own, err := Of(path)
		if err == nil && len(own) > 0 && !slices.Equal(own, had) {
			err = ErrOwn
		}
		dirs = append(dirs, path)
		return err
	})
	return dirs, err
}
