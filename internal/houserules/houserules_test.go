// Package houserules holds the rules of this repository that a machine can
// keep: comments on packages, who may import whom, words and links in the
// text, examples that parse. Each is a test that names the place.
package houserules

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// root is the repository, seen from this package's folder.
const root = "../.."

// skipped are folders that hold nothing of the project's own text.
var skipped = map[string]bool{".git": true, "bin": true, "node_modules": true, "vendor": true, "testdata": true}

// files calls visit for every file of the repository whose name ends so; path
// is relative to its root.
func files(t *testing.T, suffix string, visit func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skipped[entry.Name()] {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil // .git is a file in a work tree
		}
		if !entry.Type().IsRegular() || !strings.HasSuffix(path, suffix) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err == nil && utf8.Valid(data) {
			visit(filepath.ToSlash(relative), data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// line is the number of the line that offset is in, counted from 1.
func line(data []byte, offset int) int { return 1 + strings.Count(string(data[:offset]), "\n") }
