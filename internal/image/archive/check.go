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

// checkLayers reads every layer once, as far as the limits for all of them
// together allow, so that nothing half-good reaches the node's store.
func checkLayers(image *oci.Image, limits tarfile.Limits) error {
	left := limits
	for n, layer := range image.Layers {
		if err := checkLayer(layer, &left); err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(image.Layers), err)
		}
	}
	return nil
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
