// Package source reads the source of a function: one file, or a zip or tar
// archive of a folder. Archives come from anybody; what they may hold is
// bounded, and they are read in memory.
package source

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits bound the files of a function: what they have together, in bytes, and
// how many there are.
type Limits struct{ Bytes, Files int }

var (
	// Small is what is kept in one object: what a ConfigMap takes, with room for the
	// rest of it.
	Small = Limits{Bytes: 1_000_000, Files: 500}
	// Large is what becomes a layer of the function's image.
	Large = Limits{Bytes: 64_000_000, Files: 5000}
)

// maxPath is the longest path, in bytes.
const maxPath = 250

// Form is how a source is packed.
type Form string

// The forms, by the ends of Kubeless's content types.
const (
	Plain Form = ""
	Zip   Form = "zip"
	Tar   Form = "compressedtar" // gzip
)

// File is one of a function's files; Path is relative to its folder.
type File struct {
	Path string
	Data []byte
}

// Hold says why files are more than l; nil where they are not.
func (l Limits) Hold(files []File) error {
	total := 0
	for _, f := range files {
		total += len(f.Data)
	}
	switch {
	case total > l.Bytes:
		return l.tooMuch()
	case len(files) > l.Files:
		return l.tooMany()
	}
	return nil
}

func (l Limits) tooMuch() error {
	return fmt.Errorf("the files have more than the %d bytes that they may have together; %s", l.Bytes, l.instead())
}

func (l Limits) tooMany() error {
	return fmt.Errorf("there are more than the %d files that there may be; %s", l.Files, l.instead())
}

func (l Limits) instead() string {
	if l == Small {
		return "redoubt function deploy and update take more"
	}
	return "make an image of them and name that with --runtime-image"
}

// Recognize returns the form that data begins like, and whether it is a tar
// that is not packed.
func Recognize(data []byte) (form Form, unpacked bool) {
	const tarMagic = 257
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")), bytes.HasPrefix(data, []byte("PK\x05\x06")):
		return Zip, false
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return Tar, false
	case len(data) > tarMagic+5 && string(data[tarMagic:tarMagic+5]) == "ustar":
		return Tar, true
	}
	return Plain, false
}

// Files unpacks data, within the limits. A plain source becomes the file main; an
// archive must hold it.
func Files(form Form, data []byte, main string, limits Limits) ([]File, error) {
	b := newBag(limits)
	var err error
	switch form {
	case Plain:
		err = b.add(main, bytes.NewReader(data))
	case Zip:
		err = b.zip(data)
	case Tar:
		err = b.tar(data)
	default:
		err = fmt.Errorf("%q is no form of a source", form)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(b.files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	if !slices.ContainsFunc(b.files, func(f File) bool { return f.Path == main }) {
		return nil, fmt.Errorf("the archive has no %s in its top folder, which the handler names", main)
	}
	return b.files, nil
}

// clean checks a path of an archive. It may lead nowhere but below the
// function's folder, to a name that can be mounted.
func clean(name string) (string, error) {
	p := path.Clean(name)
	switch {
	case len(name) > maxPath:
		return "", fmt.Errorf("the path %.40q... is longer than %d bytes", name, maxPath)
	case name == "" || !utf8.ValidString(name) || strings.ContainsAny(name, "\\\x00\n"):
		return "", fmt.Errorf("the path %q is none that a function can have", name)
	case path.IsAbs(name):
		return "", fmt.Errorf("the path %q is absolute; paths begin in the function's folder", name)
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "", fmt.Errorf("the path %q leads upwards", name)
	case strings.HasPrefix(p, ".."): // what ConfigMap volumes keep for themselves
		return "", fmt.Errorf("the path %q begins with two dots", name)
	}
	return p, nil
}

var errNotFile = errors.New("is a link or another special file; a function consists of files and folders alone")
