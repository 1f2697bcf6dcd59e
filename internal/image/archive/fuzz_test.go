package archive

import (
	"bytes"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/tarfile"
)

// tight limits keep a fuzzed archive from taking long.
var tight = Limits{
	Archive: tarfile.Limits{Entries: 50, Bytes: 1 << 18},
	Layers:  tarfile.Limits{Entries: 50, Bytes: 1 << 18},
}

// FuzzOpen reads what is hardly ever an archive.
func FuzzOpen(f *testing.F) {
	plain := pack(f, file{name: "hello", content: "world"})
	f.Add(written(f, imageOf(f, layerOf(ocispec.MediaTypeImageLayer, plain, plain)), name))
	f.Add(pack(f, file{name: "manifest.json", content: `[{"Config":"c","Layers":["l"]}]`}, file{name: "c", link: "l"}, file{name: "l", content: "{}"}))
	f.Fuzz(func(t *testing.T, data []byte) { verify(t, data) })
}

// FuzzDocuments reads archives whose digests are right, so that what the
// documents say is looked at.
func FuzzDocuments(f *testing.F) {
	plain := pack(f, file{name: "hello", content: "world"})
	for _, packed := range [][]byte{plain, zip(f, plain), squeeze(f, plain)} {
		image := imageOf(f, layerOf(mediaTypes[sniff(packed)], packed, plain))
		f.Add([]byte(read(f, image.Manifest)), []byte(read(f, image.Config)), packed, ocispec.MediaTypeImageManifest)
		list := marshal(f, ocispec.Index{Manifests: []ocispec.Descriptor{image.Config.Descriptor}})
		f.Add([]byte(list), []byte(read(f, image.Manifest)), packed, ocispec.MediaTypeImageIndex)
	}
	f.Fuzz(func(t *testing.T, manifest, config, layer []byte, mediaType string) {
		top := oci.FromBytes(mediaType, manifest)
		files := []file{{name: "index.json", content: marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{top.Descriptor}})}}
		for _, data := range [][]byte{manifest, config, layer} {
			files = append(files, file{name: blobPath(oci.FromBytes("", data)), content: string(data)})
		}
		verify(t, pack(t, files...))
	})
}

// FuzzDocker does so in docker's layout, which has no digests to be wrong.
func FuzzDocker(f *testing.F) {
	plain := pack(f, file{name: "hello", content: "world"})
	config := read(f, imageOf(f, layerOf("", plain, plain)).Config)
	f.Add([]byte(`[{"Config":"config","RepoTags":["hello"],"Layers":["layer"]}]`), []byte(config), plain, "layer")
	f.Add([]byte(`[{"Config":"config","RepoTags":["hello:v1"],"Layers":["link"]}]`), []byte(config), zip(f, plain), "layer")
	f.Fuzz(func(t *testing.T, list, config, layer []byte, link string) {
		if link == "" || len(link) > 100 || bytes.ContainsRune([]byte(link), 0) {
			return // the tar writer refuses it
		}
		verify(t, pack(t, file{name: "manifest.json", content: string(list)}, file{name: "config", content: string(config)},
			file{name: "layer", content: string(layer)}, file{name: "link", link: link}))
	})
}

// verify opens an archive and, where it is accepted, sees that all is as it is
// promised to be.
func verify(t *testing.T, data []byte) {
	t.Helper()
	images, err := Open(bytes.NewReader(data), tight)
	if err != nil {
		return
	}
	if len(images) == 0 {
		t.Error("no image and no error")
	}
	for _, image := range images {
		if len(image.Layers) == 0 || len(image.Layers) > oci.MaxLayers || len(image.Names) > maxNames {
			t.Errorf("%d layers, %d names", len(image.Layers), len(image.Names))
		}
		var size int
		for _, layer := range image.Layers {
			size += unpacked(t, layer)
		}
		if most := int(tight.Layers.Bytes) + len(image.Layers)*(maxTrailer+(tight.Layers.Entries+2)*4096); size > most {
			t.Errorf("the layers unpack to %d bytes", size)
		}
	}
}

// unpacked checks a layer's digests and returns its length.
func unpacked(t *testing.T, layer oci.Layer) int {
	t.Helper()
	packed := read(t, layer.Blob)
	if digest.FromString(packed) != layer.Descriptor.Digest {
		t.Errorf("%s: another digest", layer.Descriptor.Digest)
	}
	r, err := unpack(bytes.NewReader([]byte(packed)), compressionOf(layer.Descriptor.MediaType))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(plain) != layer.DiffID {
		t.Errorf("%s: unpacks to another digest", layer.Descriptor.Digest)
	}
	return len(plain)
}
