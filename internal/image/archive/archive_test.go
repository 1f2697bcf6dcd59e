package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/tarfile"
)

// small limits, so that exceeding them is cheap.
var small = Limits{
	Archive: tarfile.Limits{Entries: 100, Bytes: 8 << 20},
	Layers:  tarfile.Limits{Entries: 100, Bytes: 1 << 20},
}

const name = "localhost/test:latest"

// file is a member of an archive that a test makes.
type file struct {
	name, content string
	link          string // a symbolic link where not empty
}

func pack(t testing.TB, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.content)), Mode: 0o644}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func squeeze(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// layerOf is a layer that is stored as packed and unpacks to plain.
func layerOf(mediaType string, packed, plain []byte) oci.Layer {
	return oci.Layer{Blob: oci.FromBytes(mediaType, packed), DiffID: digest.FromBytes(plain)}
}

func imageOf(t testing.TB, layers ...oci.Layer) *oci.Image {
	t.Helper()
	image, err := oci.New(ocispec.Image{Config: ocispec.ImageConfig{Entrypoint: []string{"/hello"}}}, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// sample is an image with layers packed in each way.
func sample(t testing.TB) *oci.Image {
	t.Helper()
	plain := pack(t, file{name: "hello", content: "world"})
	return imageOf(t,
		layerOf(ocispec.MediaTypeImageLayer, plain, plain),
		layerOf(ocispec.MediaTypeImageLayerGzip, zip(t, plain), plain),
		layerOf(ocispec.MediaTypeImageLayerZstd, squeeze(t, plain), plain))
}

func written(t testing.TB, image *oci.Image, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, image, names...); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	image := sample(t)
	data := written(t, image, name, "localhost/other:v1")
	if !bytes.Equal(data, written(t, image, name, "localhost/other:v1")) {
		t.Error("the same image gave two different archives")
	}
	for form, packed := range map[string][]byte{"plain": data, "gzip": zip(t, data), "zstd": squeeze(t, data)} {
		path := filepath.Join(t.TempDir(), "image.tar")
		if err := os.WriteFile(path, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		found, closer, err := Read(path, t.TempDir(), small)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		defer closer.Close()
		if len(found) != 1 || found[0].Manifest.Descriptor.Digest != image.Manifest.Descriptor.Digest ||
			!slices.Equal(found[0].Names, []string{name, "localhost/other:v1"}) {
			t.Errorf("%s: got %+v", form, found)
		}
		if again := written(t, found[0].Image, found[0].Names...); !bytes.Equal(again, data) {
			t.Errorf("%s: writing what was read gives another archive", form)
		}
	}
}

// Docker's own layout has no manifest, and its older versions share layers by
// links.
func TestDockerLayout(t *testing.T) {
	plain := pack(t, file{name: "hello", content: "world"})
	image := imageOf(t, layerOf("", plain, plain), layerOf("", plain, plain), layerOf("", zip(t, plain), plain))
	config := read(t, image.Config)
	list := marshal(t, []dockerImage{{Config: "config.json", RepoTags: []string{"test", "test:latest", "test:v2"}, Layers: []string{"a/layer.tar", "b/layer.tar", "c/layer.tar"}}})
	data := pack(t, file{name: "config.json", content: config}, file{name: "manifest.json", content: list},
		file{name: "a/layer.tar", content: string(plain)}, file{name: "b/layer.tar", link: "../a/layer.tar"},
		file{name: "c/layer.tar", content: string(zip(t, plain))})
	found, err := Open(bytes.NewReader(data), small)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].ID() != image.ID() {
		t.Fatalf("got %+v, want the image %s", found, image.ID())
	}
	if want := []string{"docker.io/library/test:latest", "docker.io/library/test:v2"}; !slices.Equal(found[0].Names, want) {
		t.Errorf("named %q, want %q", found[0].Names, want)
	}
	if got := found[0].Layers[2].Descriptor.MediaType; got != ocispec.MediaTypeImageLayerGzip {
		t.Errorf("the third layer is %q", got)
	}
}

func TestThePlatformOfThisNodeIsTaken(t *testing.T) {
	image := sample(t)
	foreign := oci.FromBytes(ocispec.MediaTypeImageManifest, []byte("{}")).Descriptor
	foreign.Platform = &ocispec.Platform{OS: "plan9", Architecture: "mips"}
	own := image.Manifest.Descriptor
	own.Platform = &image.Settings.Platform
	list := oci.FromBytes(ocispec.MediaTypeImageIndex, []byte(marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{foreign, own}})))
	top := list.Descriptor
	top.Annotations = map[string]string{ocispec.AnnotationRefName: "registry.example.com/app:v1"}
	found, err := Open(bytes.NewReader(layout(t, image, top, list)), small)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].ID() != image.ID() || !slices.Equal(found[0].Names, []string{"registry.example.com/app:v1"}) {
		t.Errorf("got %+v", found)
	}
}

// A digest in a name is a promise about the content that an archive cannot
// make for another image.
func TestNamesWithDigests(t *testing.T) {
	image := sample(t)
	id := image.Manifest.Descriptor.Digest.String()
	own, forged := "localhost/app@"+id, "localhost/app@"+digest.FromString("another image").String()
	found, err := Open(bytes.NewReader(written(t, image, own, forged, "localhost/app:v1@"+id)), small)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(found[0].Names, []string{own}) {
		t.Errorf("named %q, want %q alone", found[0].Names, own)
	}
}

func TestStreams(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "stream")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() { // ended by the reader below
		_, _ = w.Write(written(t, sample(t), name))
		_ = w.Close()
	}()
	if err := os.Symlink("/proc/self/fd/"+strconv.Itoa(int(r.Fd())), fifo); err != nil {
		t.Fatal(err)
	}
	found, closer, err := Read(fifo, t.TempDir(), small)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if len(found) != 1 {
		t.Errorf("%d images", len(found))
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Read(dir, dir, small); err == nil || !strings.Contains(err.Error(), "tar -C "+dir) {
		t.Errorf("a folder: %v", err)
	}
	good := zip(t, written(t, sample(t), name))
	for says, data := range map[string][]byte{
		"empty":             {},
		"cut off":           good[:len(good)/2],
		"unpack gzip":       {0x1f, 0x8b, 'n', 'o'},
		"more than 8388608": zip(t, make([]byte, small.Archive.Bytes+1)),
	} {
		if _, _, err := ReadStream(bytes.NewReader(data), dir, small); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// layout is an archive whose index names desc, with the image and more blobs.
func layout(t testing.TB, image *oci.Image, desc ocispec.Descriptor, more ...oci.Blob) []byte {
	t.Helper()
	files := []file{{name: "index.json", content: marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{desc}})}}
	blobs := append([]oci.Blob{image.Manifest, image.Config}, more...)
	for _, l := range image.Layers {
		blobs = append(blobs, l.Blob)
	}
	seen := map[string]bool{}
	for _, b := range blobs {
		if path := blobPath(b); !seen[path] {
			seen[path] = true
			files = append(files, file{name: path, content: read(t, b)})
		}
	}
	return pack(t, files...)
}

func read(t testing.TB, b oci.Blob) string {
	t.Helper()
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func marshal(t testing.TB, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
