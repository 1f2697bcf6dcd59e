package archive

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"path"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/oci"
)

// Write writes image, under complete names, as an archive in the OCI layout
// that docker's older versions can read too. The same image and names give
// the same bytes.
func Write(w io.Writer, image *oci.Image, names ...string) error {
	out := &writer{tar: tar.NewWriter(w), written: map[string]bool{}}
	out.document("oci-layout", ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	out.document("index.json", layoutIndex(image, names))
	out.document("manifest.json", dockerList(image, names))
	out.blob(image.Manifest)
	out.blob(image.Config)
	for _, layer := range image.Layers {
		out.blob(layer.Blob)
	}
	if out.err == nil {
		out.err = out.tar.Close()
	}
	if out.err != nil {
		return fmt.Errorf("write image archive: %w", out.err)
	}
	return nil
}

func layoutIndex(image *oci.Image, names []string) ocispec.Index {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	if len(names) == 0 {
		index.Manifests = []ocispec.Descriptor{image.Manifest.Descriptor}
	}
	for _, name := range names {
		desc := image.Manifest.Descriptor
		desc.Annotations = map[string]string{annotationName: name, ocispec.AnnotationRefName: name}
		index.Manifests = append(index.Manifests, desc)
	}
	return index
}

func dockerList(image *oci.Image, names []string) []dockerImage {
	d := dockerImage{Config: blobPath(image.Config), RepoTags: names}
	for _, layer := range image.Layers {
		d.Layers = append(d.Layers, blobPath(layer.Blob))
	}
	return []dockerImage{d}
}

func blobPath(b oci.Blob) string {
	return path.Join("blobs", b.Descriptor.Digest.Algorithm().String(), b.Descriptor.Digest.Encoded())
}

// writer keeps the first error.
type writer struct {
	tar     *tar.Writer
	written map[string]bool
	err     error
}

func (w *writer) document(name string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		w.err = err
	}
	w.file(name, oci.FromBytes("", data))
}

func (w *writer) blob(b oci.Blob) {
	// Layers may repeat.
	if name := blobPath(b); !w.written[name] {
		w.written[name] = true
		w.file(name, b)
	}
}

func (w *writer) file(name string, b oci.Blob) {
	if w.err != nil {
		return
	}
	if w.err = w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: b.Descriptor.Size}); w.err != nil {
		return
	}
	r, err := b.Open()
	if err != nil {
		w.err = err
		return
	}
	defer r.Close()
	_, w.err = io.Copy(w.tar, r)
}
