package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// MaxFileFrame is the size of one request or answer on a Files stream at most,
// in bytes.
const MaxFileFrame = 256 << 10

// minFileFrame is the shortest there is: an answer without a body
// (linux/fuse.h's fuse_out_header). Requests have at least 40 bytes.
const minFileFrame = 16

// ReadFileFrame reads the next request or answer of the kernel's FUSE
// protocol, which begins with its length.
func ReadFileFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	size := binary.NativeEndian.Uint32(length[:])
	if size < minFileFrame || size > MaxFileFrame {
		return nil, fmt.Errorf("file operation of %d bytes: %d to %d are allowed", size, minFileFrame, MaxFileFrame)
	}
	frame := make([]byte, size)
	copy(frame, length[:])
	_, err := io.ReadFull(r, frame[len(length):])
	return frame, err
}
