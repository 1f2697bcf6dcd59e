package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entry is one of an archive; mode says what it is, content what it holds or
// where it leads.
type entry struct {
	name, content string
	mode          fs.FileMode
}

func zipped(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode | 0o644)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(e.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func tarred(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	w := tar.NewWriter(packed)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		if e.mode != 0 {
			h.Size, h.Linkname = 0, e.content
			h.Typeflag = map[fs.FileMode]byte{fs.ModeSymlink: tar.TypeSymlink, fs.ModeDir: tar.TypeDir, fs.ModeDevice: tar.TypeChar, fs.ModeIrregular: tar.TypeLink}[e.mode]
		}
		err := w.WriteHeader(h)
		if err == nil && h.Size > 0 {
			_, err = w.Write([]byte(e.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func list(files []File) string {
	var all []string
	for _, f := range files {
		all = append(all, f.Path+"="+string(f.Data))
	}
	return strings.Join(all, " ")
}

func TestArchivesUnpack(t *testing.T) {
	entries := []entry{{"./lib/b.py", "b", 0}, {"app.py", "a", 0}}
	for form, data := range map[Form][]byte{Zip: zipped(t, entries...), Tar: tarred(t, append(entries, entry{"lib2/", "", fs.ModeDir})...)} {
		if got, _ := Recognize(data); got != form {
			t.Errorf("%s is taken for %q", form, got)
		}
		files, err := Files(form, data, "app.py", Small)
		if err != nil || list(files) != "app.py=a lib/b.py=b" {
			t.Errorf("%s: %q, %v", form, list(files), err)
		}
	}
	if form, _ := Recognize([]byte("def hello(event, context):\n")); form != Plain {
		t.Errorf("a text is taken for %q", form)
	}
}

func TestArchivesAreRefused(t *testing.T) {
	app := entry{"app.py", "a", 0}
	bomb := entry{"app.py", strings.Repeat("\x00", 50<<20), 0}
	var many []entry
	for n := range Small.Files + 1 {
		many = append(many, entry{fmt.Sprint("f", n), "", 0})
	}
	for title, tc := range map[string]struct {
		entries []entry
		says    string
	}{
		"a bomb":            {[]entry{bomb}, "more than the 1000000 bytes"},
		"many files":        {many, "more than the 500 files"},
		"upwards":           {[]entry{app, {"../app.py", "x", 0}}, "leads upwards"},
		"upwards inside":    {[]entry{app, {"a/../../x", "x", 0}}, "leads upwards"},
		"absolute":          {[]entry{app, {"/etc/passwd", "x", 0}}, "absolute"},
		"a volume's own":    {[]entry{app, {"..data", "x", 0}}, "two dots"},
		"a backslash":       {[]entry{app, {"a\\b", "x", 0}}, "none that a function can have"},
		"a long path":       {[]entry{app, {strings.Repeat("x", 300), "x", 0}}, "longer than 250"},
		"a link":            {[]entry{app, {"link", "/etc/passwd", fs.ModeSymlink}}, "is a link"},
		"a device":          {[]entry{app, {"null", "", fs.ModeDevice}}, "is a link or another special file"},
		"twice":             {[]entry{app, app}, "twice"},
		"a file and folder": {[]entry{app, {"x", "x", 0}, {"x/y", "y", 0}}, "twice"},
		"not the handler's": {[]entry{{"other.py", "x", 0}}, "no app.py in its top folder"},
	} {
		for form, data := range map[Form][]byte{Zip: zipped(t, tc.entries...), Tar: tarred(t, tc.entries...)} {
			if _, err := Files(form, data, "app.py", Small); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s in %s: %v, want %q", title, form, err, tc.says)
			}
		}
	}
	if _, err := Files(Tar, tarred(t, app, entry{"hard", "app.py", fs.ModeIrregular}), "app.py", Small); !errors.Is(err, errNotFile) {
		t.Errorf("a hard link: %v", err)
	}
	for form, data := range map[Form][]byte{Zip: zipped(t, app)[:40], Tar: tarred(t, app)[:40]} {
		if _, err := Files(form, data, "app.py", Small); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("a cut %s: %v", form, err)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"app.py": "a", "lib/b.py": "b", ".git/config": "secret"} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Folder(dir, Large)
	if err != nil || list(files) != "app.py=a lib/b.py=b" {
		t.Fatalf("%q, %v", list(files), err)
	}
	first, err1 := Pack(files)
	again, err2 := Pack(files)
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the same files make two archives (%v)", err)
	}
	if back, err := Files(Zip, first, "app.py", Small); err != nil || list(back) != list(files) {
		t.Errorf("packed and unpacked: %q, %v", list(back), err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := Folder(dir, Large); !errors.Is(err, errNotFile) {
		t.Errorf("a folder with a link: %v", err)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add("zip", []byte("PK\x03\x04"))
	f.Add("compressedtar", []byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, form string, data []byte) {
		files, _ := Files(Form(form), data, "app.py", Small)
		total := 0
		for _, file := range files {
			total += len(file.Data)
			if !filepath.IsLocal(file.Path) {
				t.Errorf("the path %q", file.Path)
			}
		}
		if total > Small.Bytes {
			t.Errorf("%d bytes", total)
		}
	})
}
