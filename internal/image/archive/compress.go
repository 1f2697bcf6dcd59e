package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// compression is how a stream is packed.
type compression int

const (
	plain compression = iota
	gzipped
	zstandard
)

var mediaTypes = map[compression]string{
	plain:     ocispec.MediaTypeImageLayer,
	gzipped:   ocispec.MediaTypeImageLayerGzip,
	zstandard: ocispec.MediaTypeImageLayerZstd,
}

// sniff tells the compression from a stream's first bytes.
func sniff(start []byte) compression {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	}
	return plain
}

// compressionOf tells it from a layer's media type.
func compressionOf(mediaType string) compression {
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		return gzipped
	case strings.HasSuffix(mediaType, "zstd"):
		return zstandard
	}
	return plain
}

// maxWindow bounds the memory that a zstd stream may ask for.
const maxWindow = 128 << 20

// unpack undoes the compression; close what it returns.
func unpack(r io.Reader, c compression) (io.ReadCloser, error) {
	switch c {
	case gzipped:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("unpack gzip: %w", err)
		}
		return z, nil
	case zstandard:
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("unpack zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// unpackAny undoes whatever compression the stream shows.
func unpackAny(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReader(r)
	start, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return unpack(buffered, sniff(start))
}
