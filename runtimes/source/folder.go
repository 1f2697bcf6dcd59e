package source

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Folder reads the files of a folder of this machine, within the limits, without
// those that git keeps for itself.
func Folder(dir string, limits Limits) ([]File, error) {
	b := newBag(limits)
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s %w", file, errNotFile)
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return b.add(filepath.ToSlash(name), f)
	})
	if err == nil && len(b.files) == 0 {
		err = fmt.Errorf("%s has no files", dir)
	}
	return b.files, err
}
