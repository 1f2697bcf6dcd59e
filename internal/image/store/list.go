package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/internal/image/oci"
)

// Image is what the store knows of an image.
type Image struct {
	// Name is complete: host, path and tag, or digest where it was pulled by
	// that.
	Name string `json:"name"`
	// ID is the CRI's image ID, Digest that of the manifest or index.
	ID     string `json:"id"`
	Digest string `json:"digest"`
	// Size is that of the content, packed as it is stored, in bytes.
	Size     int64  `json:"size"`
	Platform string `json:"platform"`
	// Stored is when the image came into the store or last changed there.
	Stored time.Time `json:"stored"`
	Pinned bool      `json:"pinned"`
	// Recipe identifies what Redoubt made the image from, "" for others.
	Recipe string `json:"recipe,omitempty"`
}

// List returns the images by name. Names that only repeat an image's ID or
// digest are left out.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	ctx = s.scope(ctx)
	records, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	tagged := map[digest.Digest]bool{}
	for _, r := range records {
		if isTag(r.Name) {
			tagged[r.Target.Digest] = true
		}
	}
	list := []Image{}
	for _, r := range records {
		if isID(r.Name) || (!isTag(r.Name) && tagged[r.Target.Digest]) {
			continue
		}
		image, err := s.describe(ctx, r)
		if errdefs.IsNotFound(err) {
			continue // it is being removed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, image)
	}
	slices.SortFunc(list, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Get returns one image by its complete name.
func (s *Store) Get(ctx context.Context, name string) (Image, error) {
	ctx = s.scope(ctx)
	record, err := s.client.ImageService().Get(ctx, name)
	if err != nil {
		return Image{}, notFound(name, err)
	}
	return s.describe(ctx, record)
}

// isID recognises the names by which the CRI finds images by their ID.
func isID(name string) bool { return strings.HasPrefix(name, "sha256:") }

// isTag recognises names that people gave.
func isTag(name string) bool { return !isID(name) && !strings.Contains(name, "@") }

func (s *Store) describe(ctx context.Context, record images.Image) (Image, error) {
	manifest, err := images.Manifest(ctx, s.client.ContentStore(), record.Target, platforms.Default())
	if err != nil {
		return Image{}, fmt.Errorf("read image %s: %w", record.Name, err)
	}
	var settings ocispec.Image
	if err := s.readJSON(ctx, manifest.Config, &settings); err != nil {
		return Image{}, fmt.Errorf("read image %s: %w", record.Name, err)
	}
	image := Image{
		Name:     record.Name,
		ID:       manifest.Config.Digest.String(),
		Digest:   record.Target.Digest.String(),
		Size:     manifest.Config.Size,
		Platform: platforms.Format(platforms.Normalize(settings.Platform)),
		Stored:   record.UpdatedAt,
		Pinned:   isPinned(record),
		Recipe:   record.Labels[LabelRecipe],
	}
	for _, layer := range manifest.Layers {
		image.Size += layer.Size
	}
	return image, nil
}

func (s *Store) configDigest(ctx context.Context, record images.Image) (string, error) {
	desc, err := images.Config(ctx, s.client.ContentStore(), record.Target, platforms.Default())
	if err != nil {
		return "", fmt.Errorf("read image %s: %w", record.Name, err)
	}
	return desc.Digest.String(), nil
}

func (s *Store) readJSON(ctx context.Context, desc ocispec.Descriptor, value any) error {
	if desc.Size > oci.MaxDocument {
		return fmt.Errorf("%s has %d bytes", desc.Digest, desc.Size)
	}
	data, err := content.ReadBlob(ctx, s.client.ContentStore(), desc)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}
