package archive

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/oci"
)

// Each archive is refused as a whole, with a sentence that says why.
func TestOpenRefuses(t *testing.T) {
	image := sample(t)
	good := written(t, image, name)
	plain := pack(t, file{name: "hello", content: "world"})
	for title, test := range map[string]struct {
		data []byte
		says string
	}{
		"another tar file":      {plain, "neither index.json (OCI) nor manifest.json (docker)"},
		"cut off":               {good[:len(good)-3000], "cut off"},
		"a file twice":          {pack(t, file{name: "index.json", content: "{}"}, file{name: "./index.json", content: "{}"}), `"index.json" twice`},
		"no JSON":               {pack(t, file{name: "index.json", content: "hello"}), "not the JSON expected"},
		"nothing in the index":  {pack(t, file{name: "index.json", content: "{}"}), "no image for linux/"},
		"nothing in the list":   {pack(t, file{name: "manifest.json", content: "[]"}), "names 0 images"},
		"a long document":       {pack(t, file{name: "index.json", content: strings.Repeat(" ", oci.MaxDocument+1)}), "more than the"},
		"a blob that is away":   {layout(t, image, oci.FromBytes(ocispec.MediaTypeImageManifest, []byte("{}")).Descriptor), "is missing from the archive"},
		"an unknown media type": {layout(t, image, ocispec.Descriptor{MediaType: "text/html", Digest: image.Manifest.Descriptor.Digest}), `"text/html", which is no image`},
		"an algorithm":          {layout(t, image, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha512:" + digest.Digest(strings.Repeat("a", 128)), Size: 1}), "no SHA-256 digest"},
		"a path as digest":      {layout(t, image, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:../../index.json", Size: 1}), "no SHA-256 digest"},
		"no layers":             {written(t, imageOf(t), name), "has no layers"},
		"a layer's digest":      {forge(t, good, "world", "w0rld"), "is not what its digest"},
		"a bad name":            {written(t, image, "UPPER/CASE"), "no name of an image"},
		"a long name":           {written(t, image, strings.Repeat("a/", 200)+"b"), "no name of an image"},
		"many names":            {written(t, image, manyNames()...), "more than 100 names"},
		"another platform":      {written(t, foreign(t), name), "it is for plan9/mips"},
		"docker without config": {docker(t, []dockerImage{{Config: "away.json"}}), `"away.json" is missing`},
		"docker climbing":       {docker(t, []dockerImage{{Config: "../../etc/shadow"}}), "climbs"},
		"docker through a link": {docker(t, []dockerImage{{Config: "link"}}, file{name: "link", link: "../../etc/shadow"}), "outside of the archive"},
		"docker to the root":    {docker(t, []dockerImage{{Config: "link"}}, file{name: "link", link: "/etc/shadow"}), "outside of the archive"},
		"docker in a circle":    {docker(t, []dockerImage{{Config: "a"}}, file{name: "a", link: "b"}, file{name: "b", link: "a"}), "more than 8 others"},
		"docker, many layers":   {docker(t, []dockerImage{{Config: "c", Layers: make([]string, oci.MaxLayers+1)}}, file{name: "c", content: "{}"}), "more than the 127"},
		"docker, layer count":   {docker(t, []dockerImage{{Config: "c", Layers: []string{"l"}}}, file{name: "c", content: "{}"}, file{name: "l", content: "x"}), "names 1 layers and the configuration 0"},
		"a name for two": {docker(t, []dockerImage{{Config: "c", RepoTags: []string{"x"}, Layers: []string{"l"}}, {Config: "c", RepoTags: []string{"x:latest"}, Layers: []string{"l"}}},
			file{name: "c", content: read(t, imageOf(t, layerOf("", plain, plain)).Config)}, file{name: "l", content: string(plain)}), "calls two images docker.io/library/x:latest"},
	} {
		found, err := Open(bytes.NewReader(test.data), small)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v; want %q", title, found, err, test.says)
		}
	}
}

func TestLayersAreRefused(t *testing.T) {
	plain := pack(t, file{name: "hello", content: "world"})
	bomb := pack(t, file{name: "zero", content: strings.Repeat("\x00", 900_000)})
	many := make([]file, 60)
	for n := range many {
		many[n].name = fmt.Sprint(n)
	}
	crowd := pack(t, many...)
	for title, test := range map[string]struct {
		layers []oci.Layer
		says   string
	}{
		"no tar":            {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayer, []byte("hello"), []byte("hello"))}, "layer 1 of 1"},
		"no gzip":           {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayerGzip, plain, plain)}, "unpack gzip"},
		"no zstd":           {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayerZstd, plain, plain)}, "layer 1 of 1"},
		"cut gzip":          {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayerGzip, zip(t, plain)[:60], plain)}, "cut off"},
		"another content":   {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayer, plain, crowd)}, "is not what the configuration says"},
		"climbing":          {[]oci.Layer{layer(t, file{name: "../../etc/passwd"})}, "climbs"},
		"an encrypted type": {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayer+"+encrypted", plain, plain)}, "not a layer that a node can unpack"},
		"a long trailer":    {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayer, append(bytes.Clone(plain), make([]byte, 2<<20)...), plain)}, "more than 1 MiB follows"},
		"a bomb":            {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayerGzip, zip(t, append(bytes.Clone(bomb[:len(bomb)-1024]), bomb...)), plain)}, "more than 1048576 bytes"},
		"a bomb in halves":  {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayerGzip, zip(t, bomb), bomb), layerOf(ocispec.MediaTypeImageLayerZstd, squeeze(t, bomb), bomb)}, "layer 2 of 2"},
		"a bomb in repeats": {[]oci.Layer{layerOf(ocispec.MediaTypeImageLayerGzip, zip(t, bomb), bomb), layerOf(ocispec.MediaTypeImageLayerGzip, zip(t, bomb), bomb)}, "layer 2 of 2: with it"},
		"a crowd":           {[]oci.Layer{layer(t, many...), layerOf(ocispec.MediaTypeImageLayerGzip, zip(t, crowd), crowd)}, "layer 2 of 2: more than 40 entries"},
	} {
		found, err := Open(bytes.NewReader(written(t, imageOf(t, test.layers...), name)), small)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v; want %q", title, found, err, test.says)
		}
	}
}

// A few small indexes, each naming the next one a thousand times, would be
// read a million million times.
func TestIndexesMultiply(t *testing.T) {
	image := sample(t)
	foreign := image.Manifest.Descriptor
	foreign.Platform = &ocispec.Platform{OS: "plan9"}
	var blobs []oci.Blob
	for desc := foreign; len(blobs) < maxDepth; desc = blobs[len(blobs)-1].Descriptor {
		many := make([]ocispec.Descriptor, maxManifests)
		for n := range many {
			many[n] = desc
		}
		blobs = append(blobs, oci.FromBytes(ocispec.MediaTypeImageIndex, []byte(marshal(t, ocispec.Index{Manifests: many}))))
	}
	_, err := Open(bytes.NewReader(layout(t, image, blobs[maxDepth-1].Descriptor, blobs...)), small)
	if err == nil || !strings.Contains(err.Error(), "more than 2000 indexes") {
		t.Errorf("four levels: %v", err)
	}
}

func TestIndexesNest(t *testing.T) {
	image := sample(t)
	desc := image.Manifest.Descriptor
	var blobs []oci.Blob
	for depth := 1; depth <= maxDepth+1; depth++ {
		blobs = append(blobs, oci.FromBytes(ocispec.MediaTypeImageIndex, []byte(marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{desc}}))))
		desc = blobs[len(blobs)-1].Descriptor
		_, err := Open(bytes.NewReader(layout(t, image, desc, blobs...)), small)
		if depth <= maxDepth && err != nil {
			t.Errorf("%d levels: %v", depth, err)
		}
		if depth > maxDepth && (err == nil || !strings.Contains(err.Error(), "nested deeper than 4")) {
			t.Errorf("%d levels: %v", depth, err)
		}
	}
}

func layer(t *testing.T, files ...file) oci.Layer {
	t.Helper()
	plain := pack(t, files...)
	return layerOf(ocispec.MediaTypeImageLayer, plain, plain)
}

func docker(t *testing.T, images []dockerImage, files ...file) []byte {
	t.Helper()
	return pack(t, append(files, file{name: "manifest.json", content: marshal(t, images)})...)
}

// forge changes the content of an archive whose files keep their lengths.
func forge(t *testing.T, data []byte, from, to string) []byte {
	t.Helper()
	if !bytes.Contains(data, []byte(from)) || len(from) != len(to) {
		t.Fatalf("%q is not to be replaced by %q", from, to)
	}
	return bytes.Replace(data, []byte(from), []byte(to), 1)
}

func manyNames() []string {
	names := make([]string, maxNames+1)
	for n := range names {
		names[n] = fmt.Sprintf("localhost/test:v%d", n)
	}
	return names
}

func foreign(t *testing.T) *oci.Image {
	t.Helper()
	image := *sample(t)
	image.Settings.Platform = ocispec.Platform{OS: "plan9", Architecture: "mips"}
	image.Config = oci.FromBytes(ocispec.MediaTypeImageConfig, []byte(marshal(t, image.Settings)))
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: image.Config.Descriptor}
	for _, l := range image.Layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	image.Manifest = oci.FromBytes(m.MediaType, []byte(marshal(t, m)))
	return &image
}
