package store

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/oci"
)

// Read returns an image by its complete name, for this node's platform. Its
// layers are read from the store as long as ctx and the store last.
func (s *Store) Read(ctx context.Context, name string) (*oci.Image, error) {
	ctx = s.scope(ctx)
	record, err := s.client.ImageService().Get(ctx, name)
	if err != nil {
		return nil, notFound(name, err)
	}
	desc, err := s.manifest(ctx, record.Target)
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", name, err)
	}
	image, err := oci.Parse(desc, func(desc ocispec.Descriptor) (oci.Blob, error) {
		return oci.Blob{Descriptor: desc, Open: func() (io.ReadCloser, error) { return s.open(ctx, desc) }}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", name, err)
	}
	return image, nil
}

// manifest descends from an index to what this node runs.
func (s *Store) manifest(ctx context.Context, target ocispec.Descriptor) (ocispec.Descriptor, error) {
	if !images.IsIndexType(target.MediaType) {
		return target, nil
	}
	children, err := images.Children(ctx, s.client.ContentStore(), target)
	if err != nil {
		return target, err
	}
	for _, child := range children {
		if child.Platform == nil || platforms.Default().Match(*child.Platform) {
			return s.manifest(ctx, child)
		}
	}
	return target, fmt.Errorf("it has nothing for %s", platforms.DefaultString())
}

func (s *Store) open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := s.client.ContentStore().ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{content.NewReader(r), r}, nil
}
