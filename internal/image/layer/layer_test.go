package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/tarfile"
)

var epoch = time.Unix(0, 0)

// contents are the names of a layer, in its order, with what each holds:
// "dir", "-> target", "= first name" or the content.
func contents(t *testing.T, tree *Tree) []string {
	t.Helper()
	l := write(t, tree)
	r, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var list []string
	for stream := tar.NewReader(r); ; {
		h, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch) {
			t.Errorf("%s: modified %v", h.Name, h.ModTime)
		}
		data, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		what := map[byte]string{tar.TypeDir: "dir", tar.TypeSymlink: "-> " + h.Linkname, tar.TypeLink: "= " + h.Linkname, tar.TypeReg: string(data)}[h.Typeflag]
		list = append(list, h.Name+" "+what)
	}
}

func write(t *testing.T, tree *Tree) oci.Layer {
	t.Helper()
	l, file, err := tree.Write(t.TempDir(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return l
}

func TestTheOrderDoesNotMatter(t *testing.T) {
	one, other := New(), New()
	for _, name := range []string{"b", "a/x", "c/y/z"} {
		one.Bytes(name, 0o644, []byte(name))
	}
	for _, name := range []string{"/c/y/z", "./a/x", "b"} {
		other.Bytes(name, 0o644, []byte(strings.TrimLeft(name, "./")))
	}
	if a, b := write(t, one).DiffID, write(t, other).DiffID; a != b {
		t.Errorf("%s and %s", a, b)
	}
	want := []string{"a/ dir", "a/x a/x", "b b", "c/ dir", "c/y/ dir", "c/y/z c/y/z"}
	if got := contents(t, one); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALayerIsWhatItsDigestSays(t *testing.T) {
	tree := New()
	tree.Bytes("hello", 0o755, []byte("world"))
	l := write(t, tree)
	for range 2 { // layers are opened as often as needed
		r, err := l.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || r.Close() != nil {
			t.Fatal(err)
		}
		if digest.FromBytes(data) != l.DiffID || l.Descriptor.Digest != l.DiffID || l.Descriptor.Size != int64(len(data)) {
			t.Errorf("%d bytes with the digest %s are called %+v", len(data), digest.FromBytes(data), l.Descriptor)
		}
	}
}

// Where a folder is a link, as /bin is, what is put there follows it.
func TestLinksInPaths(t *testing.T) {
	for title, test := range map[string]struct {
		links map[string]string
		put   string
		at    string
	}{
		"relative":    {map[string]string{"bin": "usr/bin"}, "bin/sh", "usr/bin/sh"},
		"absolute":    {map[string]string{"bin": "/usr/bin"}, "bin/sh", "usr/bin/sh"},
		"in a row":    {map[string]string{"a": "b", "b": "c/d"}, "a/f", "c/d/f"},
		"inside":      {map[string]string{"usr/lib": "lib64"}, "usr/lib/f", "usr/lib64/f"},
		"up":          {map[string]string{"var/run": "../run"}, "var/run/f", "run/f"},
		"out of root": {map[string]string{"out": "../../../etc"}, "out/passwd", "etc/passwd"},
	} {
		tree := New()
		for name, target := range test.links {
			tree.Link(name, target)
		}
		tree.Bytes(test.put, 0o644, []byte("content"))
		if !tree.Has(test.at) || tree.Err() != nil {
			t.Errorf("%s: %s is not at %s: %q, %v", title, test.put, test.at, contents(t, tree), tree.Err())
		}
	}
}

func TestLinksInACircleEnd(t *testing.T) {
	tree := New()
	tree.Link("a", "b")
	tree.Link("b", "a")
	tree.Bytes("a/f", 0o644, nil)
	if tree.Err() != nil {
		t.Error(tree.Err())
	}
}

func TestTreeRefuses(t *testing.T) {
	dir := t.TempDir()
	for title, add := range map[string]func(*Tree){
		"a path that climbs": func(tree *Tree) { tree.Bytes("../f", 0o644, nil) },
		"a missing file":     func(tree *Tree) { tree.File("f", filepath.Join(dir, "away")) },
		"a device":           func(tree *Tree) { tree.File("f", "/dev/null") },
	} {
		tree := New()
		add(tree)
		if tree.Err() == nil {
			t.Errorf("%s is accepted", title)
		}
		if _, _, err := tree.Write(dir, epoch); err == nil {
			t.Errorf("%s: the tree is written", title)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFilesOfTheHost(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "d/e"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d/e/f"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "d/link")); err != nil {
		t.Fatal(err)
	}
	tree := New()
	tree.File("/app", filepath.Join(dir, "d"))
	want := []string{"app/ dir", "app/e/ dir", "app/e/f content", "app/link -> /nowhere"}
	if got := contents(t, tree); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A file of the host that shrinks while it is read must not make a layer of
// the wrong length.
func TestAFileThatShrinks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := New()
	tree.File("f", name)
	if err := os.Truncate(name, 3); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tree.Write(t.TempDir(), epoch); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("got %v", err)
	}
}

// A reader meets the names of a file in order, so the first holds the content.
func TestHardLinks(t *testing.T) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: "m", Size: 4, Mode: 0o644},
		{Typeflag: tar.TypeLink, Name: "./a", Linkname: "./m"},
		{Typeflag: tar.TypeLink, Name: "c", Linkname: "m"},
		{Typeflag: tar.TypeLink, Name: "z", Linkname: "m"},
		{Typeflag: tar.TypeReg, Name: "unwanted"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, "data"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tree := New()
	err := tree.Tar(bytes.NewReader(packed.Bytes()), tarfile.Limits{Entries: 10, Bytes: 100}, func(name string) bool { return name != "unwanted" })
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	list := contents(t, tree)
	if len(list) != 4 || list[0] != "a data" {
		t.Errorf("got %q", list)
	}
	for _, line := range list {
		name, what, _ := strings.Cut(line, " ")
		if first, isLink := strings.CutPrefix(what, "= "); isLink && !seen[first] {
			t.Errorf("%s comes before what it is a link to: %q", name, list)
		}
		seen[name] = true
	}
}

func TestALinkToNothing(t *testing.T) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "gone"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tree := New()
	if err := tree.Tar(bytes.NewReader(packed.Bytes()), tarfile.Limits{Entries: 10, Bytes: 100}, func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tree.Write(t.TempDir(), epoch); err == nil || !strings.Contains(err.Error(), "gone, which is missing") {
		t.Errorf("got %v", err)
	}
}
