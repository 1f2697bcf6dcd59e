package tarfile

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"
)

var generous = Limits{Entries: 100, Bytes: 1 << 20, Names: 50_000}

// pack writes a tar file; the content of each file is as long as its header
// says.
func pack(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestIndexFindsContent(t *testing.T) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range []string{"a", "./dir/../b", "/c"} {
		name = strings.ReplaceAll(name, "/../", "/")
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 3, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "<"+name[len(name)-1:]+">"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := bytes.NewReader(out.Bytes())
	entries, err := Index(file, generous)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "<a>", "dir/b": "<b>", "c": "<c>"}
	if len(entries) != len(want) {
		t.Fatalf("%d entries, want %d", len(entries), len(want))
	}
	for _, e := range entries {
		content, err := io.ReadAll(e.Open(file))
		if err != nil || string(content) != want[e.Path] {
			t.Errorf("%s: %q, %v; want %q", e.Path, content, err, want[e.Path])
		}
	}
}

func TestIndexKeepsCapabilitiesAlone(t *testing.T) {
	packed := pack(t, tar.Header{
		Name: "ping", Typeflag: tar.TypeReg, Mode: 0o755, Uname: strings.Repeat("u", 100_000), Format: tar.FormatPAX,
		PAXRecords: map[string]string{Capability: strings.Repeat("c", 20), "SCHILY.xattr.user.large": strings.Repeat("l", 100_000)},
	})
	entries, err := Index(bytes.NewReader(packed), generous)
	if err != nil {
		t.Fatal(err)
	}
	h := entries[0].Header
	if len(h.PAXRecords) != 1 || h.PAXRecords[Capability] == "" || h.Uname != "" {
		t.Errorf("kept %d records, owner of %d bytes", len(h.PAXRecords), len(h.Uname))
	}
}

func TestIndexRefuses(t *testing.T) {
	one := pack(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 2000, Mode: 0o644})
	long := strings.Repeat("d/", 3000)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"no tar":           {bytes.Repeat([]byte("no"), 600), "no tar file"},
		"cut in a header":  {one[:300], "cut off"},
		"cut in a file":    {one[:1000], "cut off"},
		"climbing":         {pack(t, tar.Header{Name: "a/../../b", Typeflag: tar.TypeReg}), "climbs"},
		"long name":        {pack(t, tar.Header{Name: long + "f", Typeflag: tar.TypeReg}), "longer than"},
		"long link":        {pack(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: long}), "longer than"},
		"climbing link":    {pack(t, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../l"}), "climbs"},
		"unknown kind":     {pack(t, tar.Header{Name: "k", Typeflag: 'Z'}), "unknown kind"},
		"too many entries": {pack(t, make101()...), "more than 100 entries"},
		"too many names":   {pack(t, longNames()...), "more than 50000 bytes of names"},
		"too many bytes":   {pack(t, big("a"), big("b")), "more than 1048576 bytes"},
		"claimed size":     {claim(one, 1<<40), "more than 1048576 bytes"},
		"greatest size":    {claim(one, 1<<62), "more than 1048576 bytes"},
		"sparse":           {sparse(t), "sparse"},
	} {
		_, err := Index(bytes.NewReader(test.data), generous)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func make101() []tar.Header {
	headers := make([]tar.Header, 101)
	for n := range headers {
		headers[n] = tar.Header{Name: "d", Typeflag: tar.TypeDir}
	}
	return headers
}

func longNames() []tar.Header {
	headers := make([]tar.Header, 10)
	for n := range headers {
		headers[n] = tar.Header{Name: strings.Repeat("n", 3000), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("l", 3000)}
	}
	return headers
}

func big(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 600_000, Mode: 0o644}
}

// claim changes the size that the first header says (POSIX.1-2001's binary
// form) and its checksum.
func claim(packed []byte, size uint64) []byte {
	data := bytes.Clone(packed)
	field := data[124:136]
	for n := range field {
		field[n] = 0
	}
	for n := 11; size > 0; n-- {
		field[n] = byte(size)
		size >>= 8
	}
	field[0] = 0x80
	return seal(data)
}

func seal(data []byte) []byte {
	copy(data[148:156], "        ")
	var sum int
	for _, b := range data[:512] {
		sum += int(b)
	}
	digits := []byte("000000\x00 ")
	for n := 5; n >= 0; n-- {
		digits[n] = byte('0' + sum&7)
		sum >>= 3
	}
	copy(data[148:156], digits)
	return data
}

// sparse is a file of 1 MiB of which the archive holds 512 bytes, in the form
// GNU tar writes with --sparse --format=pax.
func sparse(t *testing.T) []byte {
	t.Helper()
	records := []byte("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n31 GNU.sparse.name=sparse-file\n31 GNU.sparse.realsize=1000000\n")
	for line := range bytes.Lines(records) {
		if n := len(line); !bytes.HasPrefix(line, []byte{byte('0' + n/10), byte('0' + n%10), ' '}) {
			t.Fatalf("record %q has %d bytes", line, n)
		}
	}
	data := pack(t,
		tar.Header{Name: "PaxHeaders/f", Typeflag: tar.TypeReg, Size: int64(len(records))},
		tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: 1024})
	data[156] = 'x'
	seal(data)
	copy(data[512:], records)
	copy(data[1536:], append([]byte("1\n0\n512\n"), make([]byte, 504)...))
	return data
}

func TestClean(t *testing.T) {
	for name, want := range map[string]string{"a": "a", "/a/b": "a/b", "./a": "a", "a//b/": "a/b", "": ".", "/": ".", "./": ".", "..a": "..a"} {
		if got, err := Clean(name); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"..", "a/..", "../a", "/../a", "a\x00b"} {
		if got, err := Clean(name); err == nil {
			t.Errorf("%q is accepted as %q", name, got)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(pack(f, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 10, Mode: 0o644}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"}))
	f.Add(pack(f, tar.Header{Name: "p", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{Capability: "c"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Index(bytes.NewReader(data), generous)
		if err != nil {
			return
		}
		for _, e := range entries {
			if clean, err := Clean(e.Name); err != nil || clean != e.Path {
				t.Errorf("%q became %q", e.Name, e.Path)
			}
			if e.Offset < 0 || e.Size < 0 || e.Offset+e.Size > int64(len(data)) {
				t.Errorf("%q: %d bytes at %d of %d", e.Name, e.Size, e.Offset, len(data))
			}
		}
	})
}
