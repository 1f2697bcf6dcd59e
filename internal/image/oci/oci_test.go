package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func layers(t *testing.T, count int) []Layer {
	t.Helper()
	all := make([]Layer, count)
	for n := range all {
		all[n].Blob = FromBytes(ocispec.MediaTypeImageLayer, fmt.Append(nil, n))
		all[n].DiffID = all[n].Descriptor.Digest
	}
	return all
}

func made(t *testing.T, count int) *Image {
	t.Helper()
	image, err := New(ocispec.Image{Config: ocispec.ImageConfig{User: "1000"}}, layers(t, count)...)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// finder finds the blobs of an image.
func finder(image *Image) Find {
	blobs := map[digest.Digest]Blob{image.Manifest.Descriptor.Digest: image.Manifest, image.Config.Descriptor.Digest: image.Config}
	for _, l := range image.Layers {
		blobs[l.Descriptor.Digest] = l.Blob
	}
	return func(desc ocispec.Descriptor) (Blob, error) {
		blob, ok := blobs[desc.Digest]
		if !ok {
			return blob, errors.New("not found")
		}
		return blob, nil
	}
}

func TestParseReadsWhatNewMade(t *testing.T) {
	image := made(t, 3)
	got, err := Parse(image.Manifest.Descriptor, finder(image))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID() != image.ID() || len(got.Layers) != 3 || got.Settings.Config.User != "1000" || got.Platform() != "linux/"+runtime.GOARCH {
		t.Errorf("got %+v", got)
	}
	for n, l := range got.Layers {
		if l.DiffID != image.Layers[n].DiffID {
			t.Errorf("layer %d unpacks to %s", n, l.DiffID)
		}
	}
}

// changed is the descriptor of image's manifest after a change, and a finder
// of everything.
func changed(t *testing.T, image *Image, change func(*ocispec.Manifest)) (ocispec.Descriptor, Find) {
	t.Helper()
	var m ocispec.Manifest
	data, err := readAll(image.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	if data, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	manifest := FromBytes(ocispec.MediaTypeImageManifest, data)
	find := finder(image)
	return manifest.Descriptor, func(desc ocispec.Descriptor) (Blob, error) {
		if desc.Digest == manifest.Descriptor.Digest {
			return manifest, nil
		}
		return find(desc)
	}
}

func TestParseRefuses(t *testing.T) {
	image := made(t, 2)
	for says, change := range map[string]func(*ocispec.Manifest){
		"128 layers are more than the 127":           func(m *ocispec.Manifest) { m.Layers = make([]ocispec.Descriptor, MaxLayers+1) },
		"names 1 layers and the configuration 2":     func(m *ocispec.Manifest) { m.Layers = m.Layers[:1] },
		"not a layer that a node can unpack":         func(m *ocispec.Manifest) { m.Layers[1].MediaType = "text/plain" },
		`layer 2: "sha512:`:                          func(m *ocispec.Manifest) { m.Layers[1].Digest = digest.Digest("sha512:" + strings.Repeat("a", 128)) },
		`configuration: "" is no SHA-256 digest`:     func(m *ocispec.Manifest) { m.Config.Digest = "" },
		"configuration: -1 bytes":                    func(m *ocispec.Manifest) { m.Config.Size = -1 },
		"configuration: 4194305 bytes are more than": func(m *ocispec.Manifest) { m.Config.Size = MaxDocument + 1 },
		"configuration: not found":                   func(m *ocispec.Manifest) { m.Config.Digest = digest.FromString("x") },
		"layer 2: not found":                         func(m *ocispec.Manifest) { m.Layers[1].Digest = digest.FromString("x") },
	} {
		desc, find := changed(t, image, change)
		if _, err := Parse(desc, find); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	endless := Blob{Open: func() (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }}
	forged := FromBytes("", []byte(`{"a":1}`))
	for says, find := range map[string]Find{
		"longer than it says": func(ocispec.Descriptor) (Blob, error) { return endless, nil },
		"damaged or forged":   func(ocispec.Descriptor) (Blob, error) { return forged, nil },
	} {
		var value any
		if _, err := ReadJSON(FromBytes("", []byte("{}")).Descriptor, find, &value); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestPlatforms(t *testing.T) {
	image := made(t, 1)
	if err := image.CheckPlatform(); err != nil {
		t.Error(err)
	}
	image.Settings.Platform = ocispec.Platform{OS: "linux", Architecture: "riscv64", Variant: "rva23"}
	if err := image.CheckPlatform(); err == nil || !strings.Contains(err.Error(), "linux/riscv64/rva23") {
		t.Errorf("got %v", err)
	}
}
