package http1

import "bytes"

const (
	// maxChunkDigits bounds a chunk's size: 15 hexadecimal digits fit an int64.
	maxChunkDigits = 15
	// maxTrailer bounds the trailers of a message, in bytes.
	maxTrailer = 8 << 10
)

// Chunks follows a body in chunks (RFC 9112, section 7.1). Chunk extensions
// are refused: nothing uses them but attacks.
//
// What it has accepted can be passed on as it is, since there is only one way
// to write it down.
type Chunks struct {
	state   chunkState
	left    int64 // of the chunk's data
	trailer int   // bytes of trailers so far
}

type chunkState uint8

const (
	atSize chunkState = iota
	inData
	afterData
	inTrailer
	atEnd
)

// Done says that the body has ended.
func (c *Chunks) Done() bool { return c.state == atEnd }

// Next looks at the bytes that come next and returns how many of them it
// accepts as one piece, and whether the piece is data. It returns 0 when it
// needs more to tell: b has less than a whole line then.
func (c *Chunks) Next(b []byte) (n int, data bool, err error) {
	switch c.state {
	case atSize:
		n, err = c.size(b)
	case inData:
		n = int(min(c.left, int64(len(b))))
		if c.left -= int64(n); c.left == 0 {
			c.state = afterData
		}
		return n, true, nil
	case afterData:
		if len(b) < 2 {
			if len(b) == 1 && b[0] != '\r' {
				return 0, false, ErrChunk
			}
			return 0, false, nil
		}
		if b[0] != '\r' || b[1] != '\n' {
			return 0, false, ErrChunk
		}
		n, c.state = 2, atSize
	case inTrailer:
		n, err = c.trailerLine(b)
	}
	return n, false, err
}

// size reads the line before a chunk.
func (c *Chunks) size(b []byte) (int, error) {
	var size int64
	for i, char := range b {
		digit := unhex(char)
		if digit >= 0 {
			if i == maxChunkDigits {
				return 0, ErrChunk
			}
			size = size<<4 | int64(digit)
			continue
		}
		if i == 0 || char != '\r' || len(b) > i+1 && b[i+1] != '\n' {
			return 0, ErrChunk
		}
		if len(b) == i+1 {
			return 0, nil
		}
		c.left, c.state = size, inData
		if size == 0 {
			c.state = inTrailer
		}
		return i + 2, nil
	}
	return 0, nil
}

// trailerLine reads one trailer, or the empty line after the last.
func (c *Chunks) trailerLine(b []byte) (int, error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if c.trailer+len(b) > maxTrailer {
			return 0, ErrTrailer
		}
		return 0, nil
	}
	if end == 0 || b[end-1] != '\r' {
		return 0, ErrTrailer
	}
	if end == 1 {
		c.state = atEnd
		return 2, nil
	}
	if c.trailer += end; c.trailer > maxTrailer {
		return 0, ErrTrailer
	}
	// A trailer that says where a message ends or goes is an attack.
	if f, err := parseField(b[:end-1]); err != nil || f.Kind != Other {
		return 0, ErrTrailer
	}
	return end + 1, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
