package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ErrInUse says that an image cannot go because pods need it.
var ErrInUse = errors.New("in use")

// Remove takes a complete name out of the store, and the content with the
// last name that people gave it. It returns when the disk is free again.
func (s *Store) Remove(ctx context.Context, name string) error {
	ctx = s.scope(ctx)
	records, err := s.client.ImageService().List(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	record, others := split(records, name)
	if record == nil {
		return notFound(name, errdefs.ErrNotFound)
	}
	if isNeeded(*record) {
		return neededError(name)
	}
	names := []string{name}
	if last(record.Target.Digest, others) {
		if err := s.checkUnused(ctx, *record); err != nil {
			return err
		}
		names = append(names, synonyms(record.Target.Digest, others)...)
	}
	for n, name := range names {
		var opts []images.DeleteOpt
		if n == len(names)-1 {
			opts = append(opts, images.SynchronousDelete())
		}
		err := s.client.ImageService().Delete(ctx, name, opts...)
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image %s: %w", name, err)
		}
	}
	return nil
}

func isPinned(record images.Image) bool { return record.Labels[labelPinned] == "pinned" }

func isNeeded(record images.Image) bool { return record.Labels[labelNeeded] == "true" }

func neededError(name string) error {
	return fmt.Errorf("%w: every pod of this node needs %s", ErrInUse, name)
}

// split takes the record of name out of records.
func split(records []images.Image, name string) (record *images.Image, others []images.Image) {
	for _, r := range records {
		if r.Name == name {
			record = &r
		} else {
			others = append(others, r)
		}
	}
	return record, others
}

// last says whether nobody gave the image another name.
func last(target digest.Digest, others []images.Image) bool {
	for _, r := range others {
		if r.Target.Digest == target && isTag(r.Name) {
			return false
		}
	}
	return true
}

// synonyms are the names that the CRI gave the image.
func synonyms(target digest.Digest, others []images.Image) (names []string) {
	for _, r := range others {
		if r.Target.Digest == target {
			names = append(names, r.Name)
		}
	}
	return names
}

// checkUnused refuses an image that a container was made from: the kubelet
// could not start that container's pod again.
func (s *Store) checkUnused(ctx context.Context, record images.Image) error {
	id, err := s.configDigest(ctx, record)
	if errdefs.IsNotFound(err) {
		return nil // damaged images can always go
	}
	if err != nil {
		return err
	}
	resp, err := s.pods.ListContainers(ctx, &runtime.ListContainersRequest{})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range resp.Containers {
		if c.ImageRef == id || c.Image.GetImage() == record.Name || c.ImageId == id {
			return fmt.Errorf("%w: container %s of pod %s/%s was made from %s; delete the pod first", ErrInUse,
				c.Metadata.GetName(), c.Labels["io.kubernetes.pod.namespace"], c.Labels["io.kubernetes.pod.name"], record.Name)
		}
	}
	return nil
}
