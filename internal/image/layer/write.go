package layer

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/oci"
)

// Write writes the tree to a new temporary file and returns it as a layer,
// with all times set to modified. The layer is not compressed: the node's
// store is on the same machine, and the digest then depends on no
// compressor's version. The layer works until the file is closed.
func (t *Tree) Write(dir string, modified time.Time) (layer oci.Layer, file io.Closer, err error) {
	if t.err != nil {
		return layer, nil, t.err
	}
	f, err := os.CreateTemp(dir, ".layer-*.tar")
	if err != nil {
		return layer, nil, fmt.Errorf("make temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return layer, nil, fmt.Errorf("hide temporary file: %w", err)
	}
	sum := sha256.New()
	if err := t.writeTo(io.MultiWriter(f, sum), modified); err != nil {
		return layer, nil, fmt.Errorf("write layer: %w", err)
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return layer, nil, err
	}
	id := digest.NewDigest(digest.SHA256, sum)
	layer.DiffID = id
	layer.Descriptor = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: size}
	layer.Open = func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, size)), nil }
	return layer, f, nil
}

func (t *Tree) writeTo(w io.Writer, modified time.Time) error {
	t.parents()
	if err := t.settleLinks(); err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		if err := t.entries[name].writeTo(out, modified); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return out.Close()
}

// settleLinks makes the first name of a file with several the one that holds
// the content, because a reader meets the names in order.
func (t *Tree) settleLinks() error {
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[name]
		if e.header.Typeflag != tar.TypeLink {
			continue
		}
		target, ok := t.entries[e.header.Linkname]
		if !ok || target.header.Typeflag == tar.TypeDir {
			return fmt.Errorf("%s is a hard link to %s, which is missing", name, e.header.Linkname)
		}
		if e.header.Linkname < name {
			continue
		}
		first, second := target, e
		first.header.Name, second.header.Name = name, e.header.Linkname
		second.header.Linkname = name
		t.entries[name], t.entries[e.header.Linkname] = first, second
	}
	return nil
}

func (e entry) writeTo(out *tar.Writer, modified time.Time) error {
	h := e.header
	h.ModTime = modified
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	if err := out.WriteHeader(&h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg || h.Size == 0 {
		return nil
	}
	r, err := e.open()
	if err != nil {
		return err
	}
	defer r.Close()
	// A file of the host may have changed since it was measured.
	n, err := io.Copy(out, io.LimitReader(r, h.Size))
	if err == nil && n < h.Size {
		err = errors.New("it became shorter while it was read")
	}
	return err
}
