package front

import (
	"redoubt.dev/redoubt/internal/gateway/http1"
)

// body says where a message's body ends.
type body struct {
	left    int64 // bytes to come; http1.NoLength: until the connection ends
	chunked bool
	chunks  http1.Chunks
	// buffered is how many of its bytes were there with the head.
	buffered int
}

func bodyOf(f *http1.Fields) body { return body{left: f.Length, chunked: f.Chunked} }

// take returns how many of the bytes that come next are the body's. With
// chunks, the bytes include their sizes and the trailers.
func (b *body) take(next []byte) (int, error) {
	if b.chunked {
		taken := 0
		for !b.chunks.Done() {
			n, _, err := b.chunks.Next(next[taken:])
			if err != nil {
				return 0, err
			}
			if n == 0 {
				break
			}
			taken += n
		}
		return taken, nil
	}
	if b.left == http1.NoLength {
		return len(next), nil
	}
	n := min(b.left, int64(len(next)))
	b.left -= n
	return int(n), nil
}

// takeData is take for one who wants the data alone: it returns the next
// piece's length, and whether it is data.
func (b *body) takeData(next []byte) (n int, data bool, err error) {
	if b.chunked {
		return b.chunks.Next(next)
	}
	n, err = b.take(next)
	return n, true, err
}

func (b *body) done() bool {
	if b.chunked {
		return b.chunks.Done()
	}
	return b.left == 0
}
