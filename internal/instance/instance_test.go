package instance

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestDataFolderHasNoLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(real, 0o700), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		link:                              real,
		filepath.Join(link, "not", "yet"): filepath.Join(real, "not", "yet"),
		filepath.Join(real, "not"):        filepath.Join(real, "not"),
		"/no-such-folder/at/all":          "/no-such-folder/at/all",
		"/dev/null/x":                     "/dev/null/x",
	} {
		inst, err := New("name", given)
		if err != nil || inst.DataDir != want {
			t.Errorf("%s is %s, %v, want %s", given, inst.DataDir, err, want)
		}
	}
}
