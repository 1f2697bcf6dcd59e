package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/archive"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/image/layer"
	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/runtimes"
)

func silent(string) {}

// recipe is one that counts how often it is made.
func recipe(t *testing.T, made *atomic.Int32) Recipe {
	t.Helper()
	return Recipe{Name: "localhost/test:latest", Key: key("test", t.Name()), Make: func(ctx context.Context, progress build.Progress) (*build.Image, error) {
		made.Add(1)
		tree := layer.New()
		tree.Bytes("hello", 0o644, make([]byte, 10_000))
		l, file, err := tree.Write(t.TempDir(), time.Unix(0, 0))
		if err != nil {
			return nil, err
		}
		image, err := oci.New(ocispec.Image{}, l)
		return &build.Image{Image: image, Closer: file}, err
	}}
}

func TestAnImageIsBuiltOnce(t *testing.T) {
	var made atomic.Int32
	r, cache := recipe(t, &made), t.TempDir()
	var ids []string
	for range 2 {
		image, err := r.fetch(t.Context(), cache, silent)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, image.ID().String())
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	}
	if made.Load() != 1 || ids[0] != ids[1] {
		t.Errorf("built %d times: %q", made.Load(), ids)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What is in the cache is trusted as little as any other archive.
func TestADamagedCacheIsBuiltAgain(t *testing.T) {
	var made atomic.Int32
	r, cache := recipe(t, &made), t.TempDir()
	for range 2 {
		image, err := r.fetch(t.Context(), cache, silent)
		if err != nil {
			t.Fatal(err)
		}
		if err := image.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Truncate(filepath.Join(cache, r.Key+".tar"), 5000); err != nil {
			t.Fatal(err)
		}
	}
	if made.Load() != 2 {
		t.Errorf("built %d times", made.Load())
	}
}

func TestSeveralFetchAtOnce(t *testing.T) {
	var made atomic.Int32
	r, cache := recipe(t, &made), t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			image, err := r.fetch(t.Context(), cache, silent)
			if err != nil {
				t.Error(err)
				return
			}
			if err := image.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	images, closer, err := archive.Read(filepath.Join(cache, r.Key+".tar"), cache, archive.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if len(images) != 1 || images[0].Names[0] != r.Name {
		t.Errorf("the cache holds %+v", images)
	}
}

func TestAFailedBuildLeavesNothing(t *testing.T) {
	cache := t.TempDir()
	failed := errors.New("no compiler")
	r := Recipe{Name: "localhost/test:latest", Key: "key", Make: func(context.Context, build.Progress) (*build.Image, error) { return nil, failed }}
	if _, err := r.fetch(t.Context(), cache, silent); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(cache); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Another source means another key, or a node would keep the old image.
func TestKeysDiffer(t *testing.T) {
	seen := map[string]string{}
	add := func(r Recipe) {
		t.Helper()
		if other, ok := seen[r.Key]; ok {
			t.Errorf("%s and %s have one key", r.Name, other)
		}
		if !strings.HasPrefix(r.Name, "localhost/") || !strings.HasSuffix(r.Name, ":latest") {
			t.Errorf("%q is no name on localhost", r.Name)
		}
		seen[r.Key] = r.Name
	}
	add(Busybox())
	add(HelloWorld())
	for _, name := range runtimes.Names() {
		of, err := runtimes.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Runtime(of)
		if err != nil {
			t.Fatal(err)
		}
		add(r)
		if of.Build != nil {
			builder, err := Builder(of.Build)
			if err != nil {
				t.Fatal(err)
			}
			add(builder)
		}
		of.Packages = append([]string{"more"}, of.Packages...)
		if changed, err := Runtime(of); err != nil || changed.Key == r.Key {
			t.Errorf("%s: the key does not depend on the packages (%v)", name, err)
		}
	}
	if first, again := Busybox(), Busybox(); first.Key != again.Key {
		t.Error("the same recipe has two keys")
	}
}
