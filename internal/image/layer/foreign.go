package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"

	"redoubt.dev/redoubt/internal/image/tarfile"
)

// Foreign adds, below the folder prefix, what the tar file f holds below its own
// folder from ("" for all of it). Nobody vouches for f: there may be files,
// folders and links alone. They become root's, and keep of their permissions
// only what anybody may. f must stay open until the tree has been written.
func (t *Tree) Foreign(prefix string, f tarfile.File, from string, limits tarfile.Limits) error {
	entries, err := tarfile.Index(f, limits)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := below(e.Path, from)
		if !ok || e.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		h, err := tame(e.Header)
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeLink {
			target, _ := tarfile.Clean(h.Linkname) // the index has checked it
			if target, ok = below(target, from); !ok {
				return fmt.Errorf("%q is a hard link to what is not there", e.Name)
			}
			h.Linkname, _ = tarfile.Clean(path.Join(prefix, target))
		}
		t.add(path.Join(prefix, name), h, func() (io.ReadCloser, error) { return io.NopCloser(e.Open(f)), nil })
	}
	return t.err
}

// below is name as seen from the folder from.
func below(name, from string) (string, bool) {
	if from == "" {
		return name, true
	}
	return strings.CutPrefix(name, from+"/")
}

func tame(h *tar.Header) (tar.Header, error) {
	switch h.Typeflag {
	case tar.TypeDir:
		return tar.Header{Typeflag: h.Typeflag, Mode: 0o755}, nil
	case tar.TypeReg:
		return tar.Header{Typeflag: h.Typeflag, Mode: 0o444 | h.Mode&0o111, Size: h.Size}, nil
	case tar.TypeSymlink, tar.TypeLink:
		return tar.Header{Typeflag: h.Typeflag, Mode: 0o777, Linkname: h.Linkname}, nil
	}
	return tar.Header{}, fmt.Errorf("%q is a device or another special file", h.Name)
}
