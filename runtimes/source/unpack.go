package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
)

// bag collects files within the bounds.
type bag struct {
	limits  Limits
	files   []File
	bytes   int
	taken   map[string]bool // paths of files
	folders map[string]bool // and of what they are in
}

func newBag(limits Limits) *bag {
	return &bag{limits: limits, taken: map[string]bool{}, folders: map[string]bool{}}
}

// add reads one file, no further than the bounds allow: what an archive says
// of its sizes is not believed.
func (b *bag) add(name string, r io.Reader) error {
	p, err := clean(name)
	if err != nil {
		return err
	}
	if len(b.files) == b.limits.Files {
		return b.limits.tooMany()
	}
	if err := b.take(p); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(b.limits.Bytes-b.bytes)+1))
	if err != nil {
		return fmt.Errorf("unpack %s: %w", p, err)
	}
	if b.bytes += len(data); b.bytes > b.limits.Bytes {
		return b.limits.tooMuch()
	}
	b.files = append(b.files, File{p, data})
	return nil
}

// take refuses a path that is there already, as a file or as a folder.
func (b *bag) take(p string) error {
	clash := b.taken[p] || b.folders[p]
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		clash = clash || b.taken[dir]
		b.folders[dir] = true
	}
	if clash {
		return fmt.Errorf("the path %q is in the archive twice", p)
	}
	b.taken[p] = true
	return nil
}

func (b *bag) zip(data []byte) error {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // add says which path it is
		return fmt.Errorf("the zip archive cannot be read: %w", err)
	}
	for _, f := range r.File {
		if err := b.zipped(f); err != nil {
			return err
		}
	}
	return nil
}

func (b *bag) zipped(f *zip.File) error {
	if f.Mode().IsDir() {
		_, err := clean(f.Name)
		return err
	}
	if !f.Mode().IsRegular() {
		return fmt.Errorf("%q %w", f.Name, errNotFile)
	}
	const encrypted = 1
	if f.Flags&encrypted != 0 {
		return fmt.Errorf("%q is encrypted", f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("unpack %q: %w", f.Name, err)
	}
	defer r.Close()
	return b.add(f.Name, r)
}

func (b *bag) tar(data []byte) error {
	packed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("the archive is no tar packed with gzip: %w", err)
	}
	// Headers count as well: an archive of nothing but folders ends too.
	const overhead = 4096
	r := tar.NewReader(&bounded{packed, int64(b.limits.Bytes + b.limits.Files*overhead), b.limits.tooMuch()})
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("the tar archive cannot be read: %w", err)
		}
		if err := b.tarred(h, r); err != nil {
			return err
		}
	}
}

func (b *bag) tarred(h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeReg:
		return b.add(h.Name, r)
	case tar.TypeDir:
		_, err := clean(h.Name)
		return err
	case tar.TypeXGlobalHeader: // as git archive writes
		return nil
	}
	return fmt.Errorf("%q %w", h.Name, errNotFile)
}

// bounded ends a stream that unpacks to more than it may.
type bounded struct {
	r    io.Reader
	left int64
	end  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.end
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

// Pack makes a zip archive of files, the same for the same files.
func Pack(files []File) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: path.Clean(f.Path), Method: zip.Deflate})
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write(f.Data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
