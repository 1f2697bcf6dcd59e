package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"redoubt.dev/redoubt/internal/image/archive"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/store"
)

// Recipe is how an image is made of what every machine has.
type Recipe struct {
	// Name is complete, with a tag.
	Name string
	// Key stands for everything that the image is made from: it changes with
	// any of it.
	Key string
	// Make builds the image.
	Make func(ctx context.Context, progress build.Progress) (*build.Image, error)
}

// Ensure puts the recipe's image into the node's store unless it is there. An
// image is built once on a machine: the archive stays in the folder of Cache,
// from where the next node gets it in a moment.
func Ensure(ctx context.Context, images *store.Store, r Recipe, progress build.Progress) error {
	present, err := images.Get(ctx, r.Name)
	if err == nil && present.Recipe == r.Key {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	cache, err := Cache()
	if err != nil {
		return err
	}
	image, err := r.fetch(ctx, cache, progress)
	if err != nil {
		return fmt.Errorf("make image %s: %w", r.Name, err)
	}
	defer image.Close()
	progress("store " + r.Name)
	return images.Add(ctx, r.Name, image.Image, store.Options{Pinned: true, Recipe: r.Key})
}

// Cache is the folder of images that have been built on this machine:
// $REDOUBT_CACHE/images, in the user's cache folder by default.
func Cache() (string, error) {
	dir := os.Getenv("REDOUBT_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder for built images (set REDOUBT_CACHE to one): %w", err)
		}
		dir = filepath.Join(user, "redoubt")
	}
	dir = filepath.Join(dir, "images")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder for built images: %w", err)
	}
	return dir, nil
}

// fetch returns the image from the cache, building it first when needed.
func (r Recipe) fetch(ctx context.Context, cache string, progress build.Progress) (*build.Image, error) {
	file := filepath.Join(cache, r.Key+".tar")
	if image, err := r.cached(file, cache); err == nil {
		return image, nil
	}
	made, err := r.Make(ctx, progress)
	if err != nil {
		return nil, err
	}
	if err := remember(file, made.Image, r.Name); err != nil {
		return nil, errors.Join(err, made.Close())
	}
	return made, nil
}

// cached reads the archive of an earlier build. It is checked like anybody's:
// a damaged one is made again.
func (r Recipe) cached(file, tmp string) (*build.Image, error) {
	images, closer, err := archive.Read(file, tmp, archive.DefaultLimits)
	if err != nil {
		return nil, err
	}
	if len(images) != 1 {
		return nil, errors.Join(fmt.Errorf("%s holds %d images", file, len(images)), closer.Close())
	}
	return &build.Image{Image: images[0].Image, Closer: closer}, nil
}

// remember writes the archive beside its place and moves it there whole, so
// that several processes may do so at the same time.
func remember(file string, image *oci.Image, name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*.tar")
	if err != nil {
		return fmt.Errorf("keep built image: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := errors.Join(archive.Write(f, image, name), f.Close()); err != nil {
		return fmt.Errorf("keep built image: %w", err)
	}
	return os.Rename(f.Name(), file)
}
