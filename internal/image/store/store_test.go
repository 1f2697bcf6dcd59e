package store

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestNamesAreTheKubelets(t *testing.T) {
	for name, want := range map[string]string{
		"busybox":                        "docker.io/library/busybox:latest",
		"user/app":                       "docker.io/user/app:latest",
		"localhost/app":                  "localhost/app:latest",
		"localhost:5000/app:v1":          "localhost:5000/app:v1",
		"registry.example.com/a/b:v1":    "registry.example.com/a/b:v1",
		"localhost/app@" + someDigest:    "localhost/app@" + someDigest,
		"localhost/app:v1@" + someDigest: "localhost/app@" + someDigest,
	} {
		if got, err := Name(name); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"", "UPPER", "localhost/app:", "localhost/app@sha256:short", "a b", strings.Repeat("a", 300), "../app"} {
		if got, err := Name(name); err == nil {
			t.Errorf("%q is accepted as %q", name, got)
		}
	}
	if _, err := TagName("localhost/app@" + someDigest); err == nil || !strings.Contains(err.Error(), "use a tag") {
		t.Errorf("a digest is accepted as a tag: %v", err)
	}
}

// The content goes with the last name that people gave it, and so do the
// names that the CRI adds.
func TestWhatGoesWithAName(t *testing.T) {
	record := func(name, content string) images.Image {
		return images.Image{Name: name, Target: ocispec.Descriptor{Digest: digest.FromString(content)}}
	}
	records := []images.Image{
		record("localhost/a:v1", "a"), record("localhost/a:v2", "a"), record(someDigest, "a"),
		record("localhost/b:v1", "b"), record("localhost/b@"+someDigest, "b"),
	}
	found, others := split(records, "localhost/a:v1")
	if found == nil || len(others) != 4 || last(found.Target.Digest, others) {
		t.Errorf("a:v1 is the last name of its content: %v", others)
	}
	found, others = split(records, "localhost/b:v1")
	if found == nil || !last(found.Target.Digest, others) {
		t.Error("b:v1 is not the last name of its content")
	}
	if names := synonyms(found.Target.Digest, others); len(names) != 1 || names[0] != "localhost/b@"+someDigest {
		t.Errorf("with b:v1 go %q", names)
	}
	if found, _ := split(records, "localhost/c:v1"); found != nil {
		t.Errorf("found %v", found)
	}
}

func TestOpenSaysThatNothingRuns(t *testing.T) {
	_, err := Open(t.Context(), t.TempDir()+"/containerd.sock")
	if err == nil || !strings.Contains(err.Error(), "redoubt up") {
		t.Errorf("got %v", err)
	}
}
