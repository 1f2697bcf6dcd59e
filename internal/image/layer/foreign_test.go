package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/image/tarfile"
)

// foreign is a tar file of these entries.
func foreign(t *testing.T, headers ...tar.Header) *bytes.Reader {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		h.Size = 0
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = h.Name
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(out.Bytes())
}

var small = tarfile.Limits{Entries: 10, Bytes: 1000, Names: 900}

func TestForeignFilesAreTamed(t *testing.T) {
	tree := New()
	f := foreign(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "package/", Mode: 0o7777, Uid: 5},
		tar.Header{Typeflag: tar.TypeReg, Name: "package/run", Mode: 0o6711, Uid: 5, PAXRecords: map[string]string{tarfile.Capability: "x"}},
		tar.Header{Typeflag: tar.TypeLink, Name: "package/same", Linkname: "package/run"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "package/link", Linkname: "../../../etc/passwd"},
		tar.Header{Typeflag: tar.TypeReg, Name: "other", Mode: 0o644})
	if err := tree.Foreign("/into", f, "package", small); err != nil {
		t.Fatal(err)
	}
	layer, file, err := tree.Write(t.TempDir(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := layer.Open()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Mode&0o7000 != 0 || len(h.PAXRecords) > 0 {
			t.Errorf("%s has uid %d, mode %o and %v", h.Name, h.Uid, h.Mode, h.PAXRecords)
		}
		got = append(got, h.Name+h.Linkname)
	}
	if want := "into/ into/link../../../etc/passwd into/run into/sameinto/run"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	for says, headers := range map[string][]tar.Header{
		"a device":            {{Typeflag: tar.TypeBlock, Name: "disk"}},
		"special file":        {{Typeflag: tar.TypeFifo, Name: "pipe"}},
		"climbs out":          {{Typeflag: tar.TypeReg, Name: "../x"}},
		"hard link":           {{Typeflag: tar.TypeLink, Name: "x", Linkname: "../../etc/shadow"}},
		"more than 10":        make([]tar.Header, 11),
		"and then is none":    {{Typeflag: tar.TypeReg, Name: "d/x"}, {Typeflag: tar.TypeSymlink, Name: "d", Linkname: "/etc"}},
		"which is no folder":  {{Typeflag: tar.TypeSymlink, Name: "d", Linkname: "/etc"}, {Typeflag: tar.TypeReg, Name: "d/x"}},
		"more than 100 folde": {{Typeflag: tar.TypeReg, Name: strings.Repeat("d/", 101) + "x"}},
		"that lead to them":   {{Typeflag: tar.TypeReg, Name: "1/2/3/4/5/x"}, {Typeflag: tar.TypeReg, Name: "6/7/8/9/10/x"}},
		"too long":            {{Typeflag: tar.TypeReg, Name: "a/b/c/" + strings.Repeat("long", 30)}, {Typeflag: tar.TypeReg, Name: strings.Repeat("long", 60) + "/b/c/d/x"}},
		"more than 1000 byte": {{Typeflag: tar.TypeReg, Name: strings.Repeat("long/", 201) + "x"}},
	} {
		for n := range headers {
			if headers[n].Name == "" {
				headers[n] = tar.Header{Typeflag: tar.TypeDir, Name: "d"}
			}
		}
		if err := New().Foreign("/into", foreign(t, headers...), "", small); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// The folder itself may be behind a link that the tree has.
func TestForeignFilesGoBelowALinkOfTheTree(t *testing.T) {
	tree := New()
	tree.Link("lib", "usr/lib")
	f := foreign(t, tar.Header{Typeflag: tar.TypeReg, Name: "z/x"}, tar.Header{Typeflag: tar.TypeLink, Name: "z/y", Linkname: "z/x"})
	if err := tree.Foreign("/lib", f, "", small); err != nil {
		t.Fatal(err)
	}
	want := []string{"lib -> usr/lib", "usr/ dir", "usr/lib/ dir", "usr/lib/z/ dir", "usr/lib/z/x z/x", "usr/lib/z/y = usr/lib/z/x"}
	if got := contents(t, tree); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
