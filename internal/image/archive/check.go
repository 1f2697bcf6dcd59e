package archive

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/tarfile"
)

// checker reads every layer of an archive once, so that nothing half-good
// reaches the node's store.
type checker struct {
	limits tarfile.Limits // for each image
	left   tarfile.Limits // for what has not been read yet
	known  map[layerID]tarfile.Limits
}

// layerID is what a layer is and what it says it unpacks to.
type layerID struct{ packed, plain digest.Digest }

func newChecker(limits tarfile.Limits) *checker {
	return &checker{limits: limits, left: limits, known: map[layerID]tarfile.Limits{}}
}

func (c *checker) image(image *oci.Image) error {
	if len(image.Layers) == 0 {
		return errors.New("an image in it has no layers, and so no program to run")
	}
	left := c.limits
	for n, layer := range image.Layers {
		size, err := c.layer(layer)
		left.Entries -= size.Entries
		left.Bytes -= size.Bytes
		if err == nil && (left.Entries < 0 || left.Bytes < 0) {
			err = fmt.Errorf("with it, the image has more than %d files or %d bytes", c.limits.Entries, c.limits.Bytes)
		}
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(image.Layers), err)
		}
	}
	return nil
}

// layer returns what a layer holds once unpacked.
func (c *checker) layer(layer oci.Layer) (tarfile.Limits, error) {
	id := layerID{packed: layer.Descriptor.Digest, plain: layer.DiffID}
	if size, ok := c.known[id]; ok {
		return size, nil
	}
	before := c.left
	if err := checkLayer(layer, &c.left); err != nil {
		return tarfile.Limits{}, err
	}
	c.known[id] = tarfile.Limits{Entries: before.Entries - c.left.Entries, Bytes: before.Bytes - c.left.Bytes}
	return c.known[id], nil
}

func checkLayer(layer oci.Layer, left *tarfile.Limits) error {
	blob, err := layer.Open()
	if err != nil {
		return err
	}
	defer blob.Close()
	packed := sha256.New()
	source := io.TeeReader(blob, packed)
	unpacked, err := unpack(source, compressionOf(layer.Descriptor.MediaType))
	if err != nil {
		return err
	}
	defer unpacked.Close()
	plain := sha256.New()
	stream := io.TeeReader(unpacked, plain)
	if err := walk(stream, left); err != nil {
		return err
	}
	// The digests also cover what follows the archive's end marker.
	if err := drain(stream); err != nil {
		return err
	}
	if err := drain(source); err != nil {
		return err
	}
	if got := digest.NewDigest(digest.SHA256, packed); got != layer.Descriptor.Digest {
		return fmt.Errorf("the content is not what its digest %s says: it is damaged or forged", layer.Descriptor.Digest)
	}
	if got := digest.NewDigest(digest.SHA256, plain); got != layer.DiffID {
		return fmt.Errorf("unpacked, the content is not what the configuration says (%s): it is damaged or forged", layer.DiffID)
	}
	return nil
}

// walk checks the entries and takes what they use from left.
func walk(stream io.Reader, left *tarfile.Limits) error {
	return tarfile.Walk(stream, *left, func(_ string, h *tar.Header, content io.Reader) error {
		if _, err := io.Copy(io.Discard, content); err != nil {
			return cutOff(fmt.Errorf("read %q: %w", h.Name, err))
		}
		left.Entries--
		left.Bytes -= h.Size
		return nil
	})
}

// maxTrailer is how much may follow the end of a tar stream: tar pads its
// files to whole records.
const maxTrailer = 1 << 20

func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxTrailer+1))
	if err != nil {
		return cutOff(fmt.Errorf("read layer: %w", err))
	}
	if n > maxTrailer {
		return errors.New("more than 1 MiB follows the end of the tar stream")
	}
	return nil
}

func cutOff(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the content is cut off: it ends before its time")
	}
	return err
}
