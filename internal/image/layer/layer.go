// Package layer makes the file tree of an image and writes it as one tar
// layer. The same tree gives the same bytes, whatever the order in which it
// was put together: entries are sorted and all times are one.
package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"redoubt.dev/redoubt/internal/image/tarfile"
)

// Tree is a set of files by their path relative to the root. A file put at a
// path takes the place of what was there. The zero Tree is not usable: New.
type Tree struct {
	entries map[string]entry
	err     error
}

type entry struct {
	header tar.Header
	open   func() (io.ReadCloser, error) // nil for what has no content
}

// New returns a tree of the root folder alone.
func New() *Tree { return &Tree{entries: map[string]entry{}} }

// Err is the first error of the methods that add to the tree.
func (t *Tree) Err() error { return t.err }

// Bytes adds a file of data with permission bits mode.
func (t *Tree) Bytes(name string, mode int64, data []byte) {
	t.add(name, tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(data))}, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	})
}

// Dir adds a folder.
func (t *Tree) Dir(name string, mode int64) {
	t.add(name, tar.Header{Typeflag: tar.TypeDir, Mode: mode}, nil)
}

// OwnedDir adds a folder that belongs to a user and the group of that number.
func (t *Tree) OwnedDir(name string, mode int64, owner int) {
	t.add(name, tar.Header{Typeflag: tar.TypeDir, Mode: mode, Uid: owner, Gid: owner}, nil)
}

// Link adds a symbolic link at name that says target.
func (t *Tree) Link(name, target string) {
	t.add(name, tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}, nil)
}

// File adds a file of the host, or a folder with all it holds. The host's
// permission bits are kept, its owners are not.
func (t *Tree) File(name, source string) {
	if err := t.copyIn(name, source); err != nil && t.err == nil {
		t.err = err
	}
}

func (t *Tree) copyIn(name, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	mode := int64(info.Mode().Perm())
	switch {
	case info.IsDir():
		return t.copyDir(name, source, mode)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a folder", source)
	}
	t.add(name, tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: info.Size()}, func() (io.ReadCloser, error) { return os.Open(source) })
	return t.err
}

func (t *Tree) copyDir(name, source string, mode int64) error {
	t.Dir(name, mode)
	children, err := os.ReadDir(source)
	if err != nil {
		return err
	}
	for _, child := range children {
		to, from := path.Join(name, child.Name()), path.Join(source, child.Name())
		if child.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink(from)
			if err != nil {
				return err
			}
			t.Link(to, target)
			continue
		}
		if err := t.copyIn(to, from); err != nil {
			return err
		}
	}
	return nil
}

// Tar adds what the tar file f holds, as far as keep wants it. f must stay
// open until the tree has been written.
func (t *Tree) Tar(f tarfile.File, limits tarfile.Limits, keep func(name string) bool) error {
	entries, err := tarfile.Index(f, limits)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !keep(e.Path) || e.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		t.add(e.Path, plainHeader(e.Header), func() (io.ReadCloser, error) { return io.NopCloser(e.Open(f)), nil })
	}
	return t.err
}

// plainHeader keeps of h what belongs into an image, and nothing of the
// machine it was made on.
func plainHeader(h *tar.Header) tar.Header {
	plain := tar.Header{
		Typeflag: h.Typeflag, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid,
		Linkname: h.Linkname, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	switch h.Typeflag {
	case tar.TypeReg:
		plain.Size = h.Size
	case tar.TypeLink:
		plain.Linkname, _ = tarfile.Clean(h.Linkname) // the index has checked it
	}
	if value, ok := h.PAXRecords[tarfile.Capability]; ok {
		plain.PAXRecords = map[string]string{tarfile.Capability: value}
	}
	return plain
}

func (t *Tree) add(name string, h tar.Header, open func() (io.ReadCloser, error)) {
	clean, err := tarfile.Clean(name)
	if err != nil {
		if t.err == nil {
			t.err = fmt.Errorf("add file to image: %w", err)
		}
		return
	}
	if clean == "." {
		return
	}
	clean = path.Join(t.resolve(path.Dir(clean)), path.Base(clean))
	h.Name = clean
	t.entries[clean] = entry{header: h, open: open}
}

// maxLinks is how many links in a path are followed.
const maxLinks = 16

// resolve follows the tree's own links in the path of a folder: where /bin is
// a link to usr/bin, a file put at /bin/sh belongs into /usr/bin.
func (t *Tree) resolve(dir string) string {
	done, rest, followed := "", strings.Split(dir, "/"), 0
	for len(rest) > 0 {
		next := path.Join(done, rest[0])
		rest = rest[1:]
		e, ok := t.entries[next]
		if !ok || e.header.Typeflag != tar.TypeSymlink || followed == maxLinks {
			done = next
			continue
		}
		followed++
		target := e.header.Linkname
		if !path.IsAbs(target) {
			target = path.Join("/", done, target)
		}
		done, rest = "", append(strings.Split(strings.TrimPrefix(path.Clean(target), "/"), "/"), rest...)
	}
	return done
}

// Has says whether there is something at name.
func (t *Tree) Has(name string) bool {
	_, ok := t.entries[strings.TrimPrefix(path.Clean("/"+name), "/")]
	return ok
}

// parents adds the folders that lead to what is in the tree.
func (t *Tree) parents() {
	for _, name := range slices.Collect(maps.Keys(t.entries)) {
		t.lead(name)
	}
}

// lead adds the folders that lead to name, a clean path, up to the first that is
// there, and returns that one, "" for the root, and the length of the names that it
// added. What leads to that folder is there, or is added when it has its turn: the
// work is as much as what is added.
func (t *Tree) lead(name string) (there string, added int64) {
	for at := strings.LastIndexByte(name, '/'); at > 0; at = strings.LastIndexByte(name[:at], '/') {
		dir := name[:at]
		if _, ok := t.entries[dir]; ok {
			return dir, added
		}
		added += int64(len(dir))
		t.entries[dir] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, Name: dir}}
	}
	return "", added
}
