// Package archive reads and writes image archives: tar files as docker,
// podman, skopeo and buildah save them, in docker's layout or OCI's.
//
// An archive may come from anybody. Open checks it completely, every length,
// name and digest, before it returns; the images it returns read their layers
// from the file, which must stay open as long as they are used.
package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/tarfile"
)

// Limits bound what an archive may hold.
type Limits struct {
	// Archive bounds the file itself, Layers all layers of one image once
	// unpacked, and all different layers of the archive.
	Archive, Layers tarfile.Limits
}

// DefaultLimits are far above honest images and far below a full disk.
var DefaultLimits = Limits{
	Archive: tarfile.Limits{Entries: 20_000, Bytes: 32 << 30},
	Layers:  tarfile.Limits{Entries: 2_000_000, Bytes: 64 << 30},
}

// Named is an image with the names that its archive gives it.
type Named struct {
	*oci.Image
	// Names are complete references; none when the archive has no names.
	Names []string
}

// Open reads the images in the tar file f that this node can run. That there
// is none is an error.
func Open(f tarfile.File, limits Limits) ([]Named, error) {
	a, err := index(f, limits.Archive)
	if err != nil {
		return nil, err
	}
	images, err := a.images()
	if err != nil {
		return nil, err
	}
	if err := checkNames(images); err != nil {
		return nil, err
	}
	c := newChecker(limits.Layers)
	for _, image := range images {
		if err := image.CheckPlatform(); err != nil {
			return nil, err
		}
		if err := c.image(image.Image); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// archive is an indexed tar file.
type archive struct {
	file  tarfile.File
	files map[string]tarfile.Entry
	// documents and bytes are how many indexes, manifests and configurations
	// may still be read, and how long they may be together.
	documents int
	bytes     int64
	// layers are the layers of docker's layout that have been described.
	layers map[string]oci.Blob
}

// Bounds on what one archive makes its reader read and keep. Without them a
// small index that names itself a thousand times, four levels deep, takes
// longer than anybody's life.
const (
	maxDocuments     = 2000
	maxDocumentBytes = 64 << 20
)

func index(f tarfile.File, limits tarfile.Limits) (*archive, error) {
	entries, err := tarfile.Index(f, limits)
	if err != nil {
		return nil, err
	}
	a := &archive{
		file: f, files: make(map[string]tarfile.Entry, len(entries)),
		documents: maxDocuments, bytes: maxDocumentBytes, layers: map[string]oci.Blob{},
	}
	for _, e := range entries {
		if e.Typeflag == tar.TypeDir || e.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		// Which of the two is meant would depend on the reader.
		if _, ok := a.files[e.Path]; ok {
			return nil, fmt.Errorf("it holds %q twice", e.Path)
		}
		a.files[e.Path] = e
	}
	return a, nil
}

// charge takes a document of that many bytes from what may be read.
func (a *archive) charge(bytes int64) error {
	a.documents--
	a.bytes -= bytes
	if a.documents < 0 || a.bytes < 0 {
		return fmt.Errorf("it has more than %d indexes, manifests and configurations, or they are longer than %d bytes together",
			maxDocuments, maxDocumentBytes)
	}
	return nil
}

func (a *archive) images() ([]Named, error) {
	if _, ok := a.files["index.json"]; ok {
		return a.ociImages()
	}
	if _, ok := a.files["manifest.json"]; ok {
		return a.dockerImages()
	}
	return nil, errors.New("it is no image archive: it holds neither index.json (OCI) nor manifest.json (docker)")
}

// maxLinks is how many links are followed to a file.
const maxLinks = 8

// find looks a file up. Archives of old docker versions share layers by
// links, which must not leave the archive.
func (a *archive) find(name string) (tarfile.Entry, error) {
	for range maxLinks {
		clean, err := tarfile.Clean(name)
		if err != nil {
			return tarfile.Entry{}, err
		}
		e, ok := a.files[clean]
		if !ok {
			return tarfile.Entry{}, fmt.Errorf("%q is missing from the archive", name)
		}
		switch e.Typeflag {
		case tar.TypeReg:
			return e, nil
		case tar.TypeSymlink:
			if path.IsAbs(e.Linkname) {
				return tarfile.Entry{}, fmt.Errorf("%q is a link to %q, outside of the archive", name, e.Linkname)
			}
			if name, err = resolve(clean, e.Linkname); err != nil {
				return tarfile.Entry{}, err
			}
		case tar.TypeLink:
			name = e.Linkname
		default:
			return tarfile.Entry{}, fmt.Errorf("%q is not a file", name)
		}
	}
	return tarfile.Entry{}, fmt.Errorf("%q is a link that leads through more than %d others", name, maxLinks)
}

// resolve is where the relative link at from leads, inside of the archive.
func resolve(from, link string) (string, error) {
	to := path.Join(path.Dir(from), link)
	if to == ".." || strings.HasPrefix(to, "../") {
		return "", fmt.Errorf("%q is a link to %q, outside of the archive", from, link)
	}
	return to, nil
}

func (a *archive) open(e tarfile.Entry) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(e.Open(a.file)), nil }
}

// document reads a small file.
func (a *archive) document(name string) ([]byte, error) {
	e, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if e.Size > oci.MaxDocument {
		return nil, fmt.Errorf("%q has %d bytes, more than the %d that a document may have", name, e.Size, oci.MaxDocument)
	}
	if err := a.charge(e.Size); err != nil {
		return nil, err
	}
	return io.ReadAll(e.Open(a.file))
}

// blob finds content by its digest, as the OCI layout stores it.
func (a *archive) blob(desc ocispec.Descriptor) (oci.Blob, error) {
	e, err := a.find("blobs/" + desc.Digest.Algorithm().String() + "/" + desc.Digest.Encoded())
	if err != nil {
		return oci.Blob{}, err
	}
	if e.Size != desc.Size {
		return oci.Blob{}, fmt.Errorf("%s has %d bytes instead of %d", desc.Digest, e.Size, desc.Size)
	}
	return oci.Blob{Descriptor: desc, Open: a.open(e)}, nil
}
