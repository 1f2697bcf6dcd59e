package stream

import "sync"

const (
	// small is the size of a buffer for heads, which hold most bodies too.
	small = 8 << 10
	// large is the size of a buffer for long bodies.
	large = 64 << 10
)

var smalls, larges = pool(small), pool(large)

func pool(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

func get(size int) *[]byte {
	switch size {
	case small:
		return smalls.Get().(*[]byte)
	case large:
		return larges.Get().(*[]byte)
	}
	b := make([]byte, size)
	return &b
}

func put(b *[]byte) {
	switch len(*b) {
	case small:
		smalls.Put(b)
	case large:
		larges.Put(b)
	}
}
