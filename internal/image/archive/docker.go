package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/oci"
)

var errNoPlatform = fmt.Errorf("it holds no image for linux/%s, which is what this node runs", runtime.GOARCH)

// dockerImage is one image in manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImages reads an archive in docker's own layout, which has no manifests:
// they are written here.
func (a *archive) dockerImages() ([]Named, error) {
	data, err := a.document("manifest.json")
	if err != nil {
		return nil, err
	}
	var list []dockerImage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("manifest.json is not the JSON expected: %w", err)
	}
	if len(list) == 0 || len(list) > maxManifests {
		return nil, fmt.Errorf("manifest.json names %d images: use an archive of 1 to %d", len(list), maxManifests)
	}
	images := make([]Named, len(list))
	for n, d := range list {
		if images[n], err = a.dockerImage(d); err != nil {
			return nil, err
		}
	}
	return images, nil
}

func (a *archive) dockerImage(d dockerImage) (image Named, err error) {
	config, err := a.document(d.Config)
	if err != nil {
		return image, err
	}
	if len(d.Layers) > oci.MaxLayers {
		return image, fmt.Errorf("manifest.json: %d layers are more than the %d that a node can stack", len(d.Layers), oci.MaxLayers)
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: oci.FromBytes(ocispec.MediaTypeImageConfig, config).Descriptor}
	m.SchemaVersion = 2
	blobs := map[digest.Digest]oci.Blob{m.Config.Digest: oci.FromBytes(m.Config.MediaType, config)}
	for _, name := range d.Layers {
		layer, err := a.dockerLayer(name)
		if err != nil {
			return image, err
		}
		m.Layers = append(m.Layers, layer.Descriptor)
		blobs[layer.Descriptor.Digest] = layer
	}
	data, err := json.Marshal(m)
	if err != nil {
		return image, err
	}
	manifest := oci.FromBytes(m.MediaType, data)
	blobs[manifest.Descriptor.Digest] = manifest
	image.Image, err = oci.Parse(manifest.Descriptor, func(desc ocispec.Descriptor) (oci.Blob, error) {
		return blobs[desc.Digest], nil
	})
	for _, name := range d.RepoTags {
		if err == nil {
			err = image.addName(name)
		}
	}
	return image, err
}

// dockerLayer describes a layer by its content: the archive says neither its
// digest nor how it is compressed. Images share layers, which are read once.
func (a *archive) dockerLayer(name string) (oci.Blob, error) {
	e, err := a.find(name)
	if err != nil {
		return oci.Blob{}, err
	}
	if known, ok := a.layers[e.Path]; ok {
		return known, nil
	}
	sum, err := digest.FromReader(e.Open(a.file))
	if err != nil {
		return oci.Blob{}, fmt.Errorf("read %q: %w", name, err)
	}
	start := make([]byte, 4)
	if _, err := io.ReadFull(e.Open(a.file), start); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return oci.Blob{}, fmt.Errorf("read %q: %w", name, err)
	}
	desc := ocispec.Descriptor{MediaType: mediaTypes[sniff(start)], Digest: sum, Size: e.Size}
	layer := oci.Blob{Descriptor: desc, Open: a.open(e)}
	a.layers[e.Path] = layer
	return layer, nil
}
