package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"

	"redoubt.dev/redoubt/internal/image/tarfile"
)

// maxDepth is how many folders a foreign file may be in.
const maxDepth = 100

// Foreign adds, below the folder prefix, what the tar file f holds below its own
// folder from ("" for all of it). Nobody vouches for f: there may be files,
// folders and links alone, and nothing goes through a link. They become root's,
// and keep of their permissions only what anybody may. The limits hold for the
// folders that f only implies as well. f must stay open until the tree has been
// written.
func (t *Tree) Foreign(prefix string, f tarfile.File, from string, limits tarfile.Limits) error {
	entries, err := tarfile.Index(f, limits)
	if err != nil {
		return err
	}
	top, err := tarfile.Clean(prefix)
	if err != nil {
		return err
	}
	top = t.resolve(top)
	most, names := len(t.entries)+limits.Entries, int64(0)
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
			h.Linkname = path.Join(top, target)
		}
		if strings.Count(name, "/") > maxDepth {
			return fmt.Errorf("%q is in more than %d folders", e.Name, maxDepth)
		}
		if h.Name = path.Join(top, name); h.Name == "." {
			continue
		}
		added, err := t.place(entry{header: h, open: func() (io.ReadCloser, error) { return io.NopCloser(e.Open(f)), nil }})
		if err != nil {
			return err
		}
		if names += added; len(t.entries) > most || limits.Names > 0 && names > limits.Names {
			return fmt.Errorf("more than %d entries, or names that are too long, with the folders that lead to them", limits.Entries)
		}
	}
	return t.err
}

// place puts e at its name, adds the folders that lead to it, and returns the
// length of their names. It refuses what would go through a link: to follow links,
// as add does, is work without end where they have been laid for that.
func (t *Tree) place(e entry) (added int64, err error) {
	name := e.header.Name
	if t.entries[name].header.Typeflag == tar.TypeDir && e.header.Typeflag != tar.TypeDir {
		return 0, fmt.Errorf("%q is a folder, and then is none", name)
	}
	t.entries[name] = e
	dir, added := t.lead(name)
	if dir != "" && t.entries[dir].header.Typeflag != tar.TypeDir {
		return 0, fmt.Errorf("%q is in %q, which is no folder", name, dir)
	}
	return added, nil
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
