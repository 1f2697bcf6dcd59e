package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Find returns the blob of that digest and size, or an error that says what
// is missing. It need not check the content.
type Find func(ocispec.Descriptor) (Blob, error)

// layerTypes are the media types of layers that a node unpacks.
var layerTypes = map[string]bool{
	ocispec.MediaTypeImageLayer:                         true,
	ocispec.MediaTypeImageLayerGzip:                     true,
	ocispec.MediaTypeImageLayerZstd:                     true,
	"application/vnd.docker.image.rootfs.diff.tar":      true,
	"application/vnd.docker.image.rootfs.diff.tar.gzip": true,
	"application/vnd.docker.image.rootfs.diff.tar.zstd": true,
}

// Parse makes an image of a manifest that somebody else wrote. The documents
// are read and checked; the layers are only looked up.
func Parse(manifest ocispec.Descriptor, find Find) (*Image, error) {
	var m ocispec.Manifest
	blob, err := ReadJSON(manifest, find, &m)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if len(m.Layers) > MaxLayers {
		return nil, fmt.Errorf("manifest: %d layers are more than the %d that a node can stack", len(m.Layers), MaxLayers)
	}
	image := &Image{Manifest: blob}
	if image.Config, err = ReadJSON(m.Config, find, &image.Settings); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	diffIDs := image.Settings.RootFS.DiffIDs
	if len(diffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("the manifest names %d layers and the configuration %d", len(m.Layers), len(diffIDs))
	}
	for n, desc := range m.Layers {
		layer, err := lookUp(desc, find)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", n+1, err)
		}
		if err := CheckDigest(diffIDs[n]); err != nil {
			return nil, fmt.Errorf("layer %d: %w", n+1, err)
		}
		image.Layers = append(image.Layers, Layer{Blob: layer, DiffID: diffIDs[n]})
	}
	return image, nil
}

func lookUp(desc ocispec.Descriptor, find Find) (Blob, error) {
	if !layerTypes[desc.MediaType] {
		return Blob{}, fmt.Errorf("media type %q is not a layer that a node can unpack", desc.MediaType)
	}
	if err := CheckDigest(desc.Digest); err != nil {
		return Blob{}, err
	}
	return find(desc)
}

// ReadJSON finds a document, checks its length and digest, and reads it into
// value.
func ReadJSON(desc ocispec.Descriptor, find Find, value any) (Blob, error) {
	if err := CheckDigest(desc.Digest); err != nil {
		return Blob{}, err
	}
	if desc.Size < 0 || desc.Size > MaxDocument {
		return Blob{}, fmt.Errorf("%d bytes are more than the %d that a document may have", desc.Size, MaxDocument)
	}
	found, err := find(desc)
	if err != nil {
		return Blob{}, err
	}
	data, err := readAll(found)
	if err != nil {
		return Blob{}, err
	}
	blob := FromBytes(desc.MediaType, data)
	if blob.Descriptor.Digest != desc.Digest {
		return Blob{}, fmt.Errorf("the content is not what its digest %s says: it is damaged or forged", desc.Digest)
	}
	if err := json.Unmarshal(data, value); err != nil {
		return Blob{}, fmt.Errorf("not the JSON expected: %w", err)
	}
	return blob, nil
}

func readAll(b Blob) ([]byte, error) {
	r, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err == nil && len(data) > MaxDocument {
		err = errors.New("longer than it says")
	}
	return data, err
}

// CheckDigest accepts SHA-256 alone, the one algorithm that all of containerd,
// registries and archives use.
func CheckDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%q is no SHA-256 digest", d)
	}
	return nil
}
