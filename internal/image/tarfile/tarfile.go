// Package tarfile reads tar files that nobody vouches for: every name, link
// and length is checked before anything acts on it. Nothing is ever unpacked
// by this package.
package tarfile

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Limits bound one tar stream.
type Limits struct {
	// Entries is the greatest number of files, folders and links.
	Entries int
	// Bytes is the greatest sum of the files' lengths.
	Bytes int64
	// Names is the greatest sum of the lengths of names and links; 0 is without limit.
	Names int64
}

// maxName is Linux's PATH_MAX.
const maxName = 4096

// File is a tar file that can be read at any place.
type File interface {
	io.ReadSeeker
	io.ReaderAt
}

// Capability is the extended attribute, as a tar file names it, with the
// rights that a program gains when it is run, such as ping's.
const Capability = "SCHILY.xattr.security.capability"

// maxCapability is what the kernel stores as Capability, in bytes.
const maxCapability = 24

// Entry is one file of an indexed tar file. Its header has no times, no names
// of owners, and of extended attributes Capability alone: each of the others
// may have a mebibyte, and an archive many files.
type Entry struct {
	*tar.Header
	// Path is Name without leading slash and dots; "." is the root.
	Path string
	// Offset is where the content starts.
	Offset int64
}

// Open reads the entry's content from f, the file that was indexed.
func (e Entry) Open(f io.ReaderAt) io.Reader { return io.NewSectionReader(f, e.Offset, e.Size) }

// Index lists what the tar file f holds, in its order, reading headers only.
func Index(f File, limits Limits) ([]Entry, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var entries []Entry
	err = Walk(f, limits, func(name string, h *tar.Header, _ io.Reader) error {
		// The reader takes no more of f than the header.
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if offset+h.Size > end {
			return fmt.Errorf("%q is cut off: %w", h.Name, io.ErrUnexpectedEOF)
		}
		entries = append(entries, Entry{Header: essential(h), Path: name, Offset: offset})
		return nil
	})
	return entries, err
}

func essential(h *tar.Header) *tar.Header {
	kept := &tar.Header{
		Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: h.Size,
		Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	if value, ok := h.PAXRecords[Capability]; ok && len(value) <= maxCapability {
		kept.PAXRecords = map[string]string{Capability: value}
	}
	return kept
}

// Walk calls visit for every entry of a tar stream, once its name and links
// have been found to stay inside of the tree and the limits to hold. name is
// the entry's name as Entry.Path has it.
func Walk(r io.Reader, limits Limits, visit func(name string, h *tar.Header, content io.Reader) error) error {
	stream := tar.NewReader(r)
	var total, names int64
	for count := 0; ; count++ {
		h, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the tar stream is cut off: it ends in the middle of a file")
		}
		if errors.Is(err, tar.ErrHeader) {
			return errors.New("it is no tar file, or a damaged one")
		}
		if err != nil {
			return fmt.Errorf("read tar stream: %w", err)
		}
		if count == limits.Entries {
			return fmt.Errorf("more than %d entries", limits.Entries)
		}
		if total += h.Size; h.Size > limits.Bytes || total > limits.Bytes {
			return fmt.Errorf("more than %d bytes of content", limits.Bytes)
		}
		if names += int64(len(h.Name) + len(h.Linkname)); limits.Names > 0 && names > limits.Names {
			return fmt.Errorf("more than %d bytes of names", limits.Names)
		}
		name, err := check(h)
		if err != nil {
			return err
		}
		if err := visit(name, h, stream); err != nil {
			return err
		}
	}
}

// check returns the cleaned name of an entry that stays inside of the tree.
func check(h *tar.Header) (string, error) {
	name, err := Clean(h.Name)
	if err != nil {
		return "", err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeXGlobalHeader:
	case tar.TypeLink:
		if _, err := Clean(h.Linkname); err != nil {
			return "", fmt.Errorf("hard link %q: %w", h.Name, err)
		}
	default:
		return "", fmt.Errorf("%q is of the unknown kind %q", h.Name, h.Typeflag)
	}
	// Its length is not that of what the archive holds of it.
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", fmt.Errorf("%q is a sparse file: pack it without tar's option --sparse", h.Name)
		}
	}
	if len(h.Linkname) > maxName {
		return "", fmt.Errorf("the link %q is longer than %d bytes", h.Name, maxName)
	}
	return name, nil
}

// Clean makes a path inside of an archive relative to its root. A path that
// climbs is refused rather than repaired: no honest tool writes one.
func Clean(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("a name is longer than %d bytes", maxName)
	}
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q contains a zero byte", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q climbs out of its archive with \"..\"", name)
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		clean = "."
	}
	return clean, nil
}
