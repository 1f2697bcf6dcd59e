package groups

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

func TestFind(t *testing.T) {
	for _, test := range []struct{ name, dir string }{
		{"guaranteed", "kubepods/pod" + uid},
		{"best effort", "kubepods/besteffort/pod" + uid},
		{"systemd", "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f1e2d3c_4b5a_6978_8796_a5b4c3d2e1f0.slice"},
		{"systemd, guaranteed", "kubepods.slice/kubepods-pod0f1e2d3c_4b5a_6978_8796_a5b4c3d2e1f0.slice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range []string{test.dir, "system.slice/other", "kubepods/pod" + "11111111-1111-1111-1111-111111111111"} {
				if err := os.MkdirAll(filepath.Join(root, dir, "container"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			path, err := Find(root, uid)
			if want := filepath.Join(root, test.dir); err != nil || path != want {
				t.Errorf("found %q, %v; want %q", path, err, want)
			}
			for _, other := range []string{"", "..", "1111", "22222222-1111-1111-1111-111111111111"} {
				if path, err := Find(root, other); !errors.Is(err, ErrNone) {
					t.Errorf("%q found %q, %v", other, path, err)
				}
			}
		})
	}
}
