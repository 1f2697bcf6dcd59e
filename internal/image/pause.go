// Package image fills a node's image store without a registry. The work is in
// the packages below it; this one has what the platform itself needs.
package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/layer"
	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/store"
)

// EnsurePause puts the image name, made of the engine's pause program, into
// the node's store unless one made of the same program is there.
func EnsurePause(ctx context.Context, client *containerd.Client, engine, name string) error {
	program, err := os.ReadFile(filepath.Join(engine, "pause"))
	if err != nil {
		return fmt.Errorf("read the pause program (make it with: make engine): %w", err)
	}
	images := store.New(client)
	recipe := fmt.Sprintf("needed pause %x", sha256.Sum256(program))
	present, err := images.Get(ctx, name)
	if err == nil && present.Recipe == recipe {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := addPause(ctx, images, program, name, recipe); err != nil {
		return fmt.Errorf("make pause image: %w", err)
	}
	return nil
}

func addPause(ctx context.Context, images *store.Store, program []byte, name, recipe string) error {
	tree := layer.New()
	tree.Bytes("pause", 0o755, program)
	l, file, err := tree.Write(os.TempDir(), time.Unix(0, 0))
	if err != nil {
		return err
	}
	defer file.Close()
	made, err := oci.New(ocispec.Image{Config: ocispec.ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535"}}, l)
	if err != nil {
		return err
	}
	return images.Add(ctx, name, made, store.Options{Needed: true, Recipe: recipe})
}
