// Package oci is a container image in memory: what all of image building,
// archives and the node's store hand to each other.
//
// An Image is made once, by New from its parts or by Parse from documents that
// somebody else wrote, and does not change. Its layers are not in memory: they
// are opened when needed, as often as needed.
package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds on what one image may hold, whoever made it.
const (
	// MaxDocument bounds a manifest, an index and a configuration, in bytes.
	MaxDocument = 4 << 20
	// MaxLayers is what overlayfs mounts without trouble.
	MaxLayers = 127
)

// Blob is content named by its digest.
type Blob struct {
	Descriptor ocispec.Descriptor
	// Open returns the content from its start; the caller closes it.
	Open func() (io.ReadCloser, error)
}

// FromBytes is a blob in memory.
func FromBytes(mediaType string, data []byte) Blob {
	return Blob{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))},
		Open:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// Layer is a blob that unpacks to a tar stream with the digest DiffID.
type Layer struct {
	Blob
	DiffID digest.Digest
}

// Image is a manifest for one platform with everything it names.
type Image struct {
	Manifest Blob
	Config   Blob
	Layers   []Layer
	// Settings are the configuration's content.
	Settings ocispec.Image
}

// ID is the name of the image that does not depend on how its layers are
// compressed: the CRI's image ID.
func (i *Image) ID() digest.Digest { return i.Config.Descriptor.Digest }

// Platform is the operating system and processor the image is for.
func (i *Image) Platform() string { return platform(i.Settings.Platform) }

func platform(p ocispec.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}

// CheckPlatform refuses an image that this node cannot run.
func (i *Image) CheckPlatform() error {
	if Runs(i.Settings.Platform) {
		return nil
	}
	return fmt.Errorf("it is for %s, and this node runs linux/%s: build or save it for that platform", i.Platform(), runtime.GOARCH)
}

// Runs says whether this node runs programs for p.
func Runs(p ocispec.Platform) bool { return p.OS == "linux" && p.Architecture == runtime.GOARCH }

// New makes an image of layers. It writes the platform and the layers into
// settings.
func New(settings ocispec.Image, layers ...Layer) (*Image, error) {
	settings.Platform = ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	settings.RootFS = ocispec.RootFS{Type: "layers"}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Layers:    []ocispec.Descriptor{},
	}
	for _, l := range layers {
		settings.RootFS.DiffIDs = append(settings.RootFS.DiffIDs, l.DiffID)
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	config, err := document(ocispec.MediaTypeImageConfig, settings)
	if err != nil {
		return nil, err
	}
	manifest.Config = config.Descriptor
	blob, err := document(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return nil, err
	}
	return &Image{Manifest: blob, Config: config, Layers: layers, Settings: settings}, nil
}

func document(mediaType string, value any) (Blob, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return Blob{}, fmt.Errorf("write image: %w", err)
	}
	return FromBytes(mediaType, data), nil
}
