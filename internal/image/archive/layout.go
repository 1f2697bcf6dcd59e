package archive

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/oci"
)

const (
	// annotationName is where containerd and docker write a complete name;
	// the standard's own annotation often holds a tag alone.
	annotationName = "io.containerd.image.name"

	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"

	// maxManifests bounds an index, maxDepth indexes inside of indexes.
	maxManifests = 1000
	maxDepth     = 4
)

// ociImages reads an archive in the OCI image layout.
func (a *archive) ociImages() ([]Named, error) {
	data, err := a.document("index.json")
	if err != nil {
		return nil, err
	}
	var top ocispec.Index
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, fmt.Errorf("index.json is not the JSON expected: %w", err)
	}
	if len(top.Manifests) > maxManifests {
		return nil, fmt.Errorf("index.json names more than %d images", maxManifests)
	}
	var images []Named
	known := map[digest.Digest]int{}
	for _, desc := range top.Manifests {
		image, err := a.choose(desc, maxDepth)
		if err != nil {
			return nil, err
		}
		if image == nil {
			continue
		}
		id := image.Manifest.Descriptor.Digest
		if _, ok := known[id]; !ok {
			known[id] = len(images)
			images = append(images, Named{Image: image})
		}
		if err := images[known[id]].addName(nameOf(desc)); err != nil {
			return nil, err
		}
	}
	if len(images) == 0 {
		return nil, errNoPlatform
	}
	return images, nil
}

// choose returns the image that desc leads to and that this node runs, nil
// when there is none.
func (a *archive) choose(desc ocispec.Descriptor, depth int) (*oci.Image, error) {
	switch desc.MediaType {
	case ocispec.MediaTypeImageManifest, dockerManifest:
		if desc.Platform != nil && !oci.Runs(*desc.Platform) {
			return nil, nil
		}
		return a.parse(desc)
	case ocispec.MediaTypeImageIndex, dockerManifestList:
		return a.chooseFrom(desc, depth)
	}
	return nil, fmt.Errorf("index.json names %s of the media type %q, which is no image", desc.Digest, desc.MediaType)
}

func (a *archive) parse(desc ocispec.Descriptor) (*oci.Image, error) {
	if err := a.charge(desc.Size); err != nil {
		return nil, err
	}
	image, err := oci.Parse(desc, a.blob)
	if err != nil {
		return nil, err
	}
	return image, a.charge(image.Config.Descriptor.Size)
}

func (a *archive) chooseFrom(desc ocispec.Descriptor, depth int) (*oci.Image, error) {
	if depth == 0 {
		return nil, fmt.Errorf("indexes are nested deeper than %d", maxDepth)
	}
	if err := a.charge(desc.Size); err != nil {
		return nil, err
	}
	var list ocispec.Index
	if _, err := oci.ReadJSON(desc, a.blob, &list); err != nil {
		return nil, fmt.Errorf("index %s: %w", desc.Digest, err)
	}
	if len(list.Manifests) > maxManifests {
		return nil, fmt.Errorf("index %s names more than %d images", desc.Digest, maxManifests)
	}
	for _, child := range list.Manifests {
		image, err := a.choose(child, depth-1)
		if image != nil || err != nil {
			return image, err
		}
	}
	return nil, nil
}
