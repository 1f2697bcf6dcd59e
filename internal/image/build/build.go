// Package build makes images of what is on the machine, without a base image
// and so without a registry: of a static program, of a Go package, or of a
// set of the distribution's packages.
//
// An Image of this package is used until its Close.
package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/layer"
	"redoubt.dev/redoubt/internal/image/oci"
)

// Progress is told the name of each step as it starts.
type Progress func(step string)

// Image is a finished image with the temporary file that holds its layer.
type Image struct {
	*oci.Image
	io.Closer
}

// Addition is a file or folder of the host, or Data, that goes into an image.
type Addition struct {
	// Path is where it goes, absolute.
	Path string
	// Source is a path on the host; Data, with the permission bits Mode, is
	// used when it is empty.
	Source string
	Data   []byte
	Mode   int64
}

// Contents is what can be added to an image of any kind.
type Contents struct {
	Files []Addition
	// Archives are unpacked into images of packages.
	Archives []Archive
	// Owned are folders, by their paths, that belong to a user of that number.
	Owned map[string]int
	// Links are symbolic links: what each says, by its path.
	Links map[string]string
	// Settings describe the process; Labels the image.
	Settings ocispec.ImageConfig
}

// nobody is the user that programs run as unless the image says otherwise:
// the one that distroless images made usual.
const nobody = "65532:65532"

const passwd = `root:x:0:0:root:/root:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
`

const group = `root:x:0:
nonroot:x:65532:
`

// base puts into tree what most programs expect and the tree has not.
func base(tree *layer.Tree) {
	for name, data := range map[string]string{"etc/passwd": passwd, "etc/group": group} {
		if !tree.Has(name) {
			tree.Bytes(name, 0o644, []byte(data))
		}
	}
	if !tree.Has("tmp") {
		tree.Dir("tmp", 0o1777)
	}
	if !tree.Has("home/nonroot") {
		tree.OwnedDir("home/nonroot", 0o700, 65532)
	}
}

// finish adds contents to the tree and makes the image.
func finish(tree *layer.Tree, c Contents) (*Image, error) {
	base(tree)
	for _, f := range c.Files {
		if f.Source != "" {
			tree.File(f.Path, f.Source)
		} else {
			tree.Bytes(f.Path, f.Mode, f.Data)
		}
	}
	for name, owner := range c.Owned {
		tree.OwnedDir(name, 0o755, owner)
	}
	for name, target := range c.Links {
		tree.Link(name, target)
	}
	modified, err := sourceDate()
	if err != nil {
		return nil, err
	}
	l, file, err := tree.Write(os.TempDir(), modified)
	if err != nil {
		return nil, err
	}
	image, err := oci.New(ocispec.Image{Created: &modified, Config: c.Settings}, l)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Image{Image: image, Closer: file}, nil
}

// oldest is the default time of everything in an image: the first that a zip
// file, and so a Python package, can hold.
var oldest = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// sourceDate is $SOURCE_DATE_EPOCH, which reproducible builds agree on.
func sourceDate() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return oldest, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q is not a number of seconds", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
