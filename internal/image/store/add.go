package store

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	"redoubt.dev/redoubt/internal/image/oci"
)

// Options are what is remembered with an image besides its name.
type Options struct {
	// Pinned keeps the image when the kubelet frees disk: for those that no
	// registry has. Needed, with which it is pinned too, keeps it and its name
	// from people: for those that every pod of the node needs.
	Pinned, Needed bool
	// Recipe is remembered as LabelRecipe, when not empty.
	Recipe string
}

func (o Options) labels() map[string]string {
	labels := map[string]string{}
	if o.Pinned || o.Needed {
		labels[labelPinned] = "pinned"
	}
	if o.Needed {
		labels[labelNeeded] = "true"
	}
	if o.Recipe != "" {
		labels[LabelRecipe] = o.Recipe
	}
	return labels
}

// Add puts image into the store under a complete name, taking the name from
// the image that had it, and unpacks it. Once it returns, pods can use it. One that
// is needed loses its name to another such one alone.
func (s *Store) Add(ctx context.Context, name string, image *oci.Image, o Options) error {
	ctx = s.scope(ctx)
	if !o.Needed {
		if err := s.checkFree(ctx, name); err != nil {
			return err
		}
	}
	// The lease keeps the content until the image refers to it.
	ctx, release, err := s.client.WithLease(ctx)
	if err != nil {
		return fmt.Errorf("store image %s: %w", name, err)
	}
	defer func() { _ = release(context.WithoutCancel(ctx)) }() // it expires by itself
	if err := s.write(ctx, image); err != nil {
		return fmt.Errorf("store image %s: %w", name, err)
	}
	record := images.Image{Name: name, Target: image.Manifest.Descriptor, Labels: o.labels()}
	if err := containerd.NewImage(s.client, record).Unpack(ctx, snapshotter); err != nil {
		return fmt.Errorf("unpack image %s: %w", name, err)
	}
	if err := s.record(ctx, record); err != nil {
		return fmt.Errorf("name image %s: %w", name, err)
	}
	return s.seen(ctx, name, image.ID().String())
}

// checkFree refuses the name of an image that every pod of the node needs.
func (s *Store) checkFree(ctx context.Context, name string) error {
	present, err := s.client.ImageService().Get(ctx, name)
	if err == nil && isNeeded(present) {
		return neededError(name)
	}
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// write brings the blobs into the content store, the manifest last: it refers
// to the others, and what nothing refers to is collected as garbage.
func (s *Store) write(ctx context.Context, image *oci.Image) error {
	references := map[string]string{"containerd.io/gc.ref.content.config": image.Config.Descriptor.Digest.String()}
	for n, layer := range image.Layers {
		references[fmt.Sprintf("containerd.io/gc.ref.content.l.%d", n)] = layer.Descriptor.Digest.String()
		if err := s.writeBlob(ctx, layer.Blob, nil); err != nil {
			return err
		}
	}
	// The configuration refers to the unpacked layers; Unpack writes that.
	if err := s.writeBlob(ctx, image.Config, nil); err != nil {
		return err
	}
	return s.writeBlob(ctx, image.Manifest, references)
}

func (s *Store) writeBlob(ctx context.Context, b oci.Blob, labels map[string]string) error {
	r, err := b.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	// The writer refuses content that is not what the digest says.
	ref := "redoubt-" + b.Descriptor.Digest.String()
	err = content.WriteBlob(ctx, s.client.ContentStore(), ref, r, b.Descriptor, content.WithLabels(maps.Clone(labels)))
	if err != nil {
		return fmt.Errorf("write %s: %w", b.Descriptor.Digest, err)
	}
	return nil
}

func (s *Store) record(ctx context.Context, record images.Image) error {
	_, err := s.client.ImageService().Create(ctx, record)
	if !errdefs.IsAlreadyExists(err) {
		return err
	}
	_, err = s.client.ImageService().Update(ctx, record)
	return err
}

// Tag gives an image a second name.
func (s *Store) Tag(ctx context.Context, from, to string) error {
	ctx = s.scope(ctx)
	source, err := s.client.ImageService().Get(ctx, from)
	if err != nil {
		return notFound(from, err)
	}
	if err := s.checkFree(ctx, to); err != nil {
		return err
	}
	record := images.Image{Name: to, Target: source.Target, Labels: map[string]string{}}
	for key, value := range source.Labels {
		// The CRI's own labels follow from the name; it adds them.
		if key == labelPinned || key != labelNeeded && !strings.HasPrefix(key, "io.cri-containerd.") {
			record.Labels[key] = value
		}
	}
	if err := s.record(ctx, record); err != nil {
		return fmt.Errorf("name image %s: %w", to, err)
	}
	id, err := s.configDigest(ctx, source)
	if err != nil {
		return err
	}
	return s.seen(ctx, to, id)
}

// seen waits until the CRI, which learns of new names from events, means the
// image id by name: a pod created right after would miss it otherwise.
func (s *Store) seen(ctx context.Context, name, id string) error {
	const interval, patience = 5 * time.Millisecond, 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		resp, err := s.images.ImageStatus(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: name}})
		if err == nil && resp.GetImage().GetId() == id {
			return nil
		}
		if status.Code(err) == codes.Unimplemented {
			return nil // a containerd without the CRI has nobody to wait for
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the container runtime has stored image %s but does not show it to the kubelet: %w", name, ctx.Err())
		case <-time.After(interval):
		}
	}
}
