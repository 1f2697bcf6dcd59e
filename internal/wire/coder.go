package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	errShort = errors.New("message ends early")
	errLong  = errors.New("message is longer than its content")
)

// message is what both sides send. fields names each field once, in order, for
// writing and reading alike.
type message interface{ fields(*coder) }

// coder writes or reads a message. The first error sticks.
type coder struct {
	buf     []byte // written so far, or left to read
	reading bool
	err     error
}

// encode returns m's bytes.
func encode(m message) ([]byte, error) {
	c := &coder{buf: make([]byte, 0, 512)}
	m.fields(c)
	return c.buf, c.err
}

// decode fills m, a zero message, from exactly data.
func decode(data []byte, m message) error {
	c := &coder{buf: data, reading: true}
	m.fields(c)
	if c.err == nil && len(c.buf) > 0 {
		c.err = errLong
	}
	return c.err
}

func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *coder) uint64(v *uint64) {
	if c.err != nil {
		return
	}
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	got, n := binary.Uvarint(c.buf)
	if n <= 0 {
		c.fail(errShort)
		return
	}
	*v, c.buf = got, c.buf[n:]
}

func (c *coder) int64(v *int64) {
	// Zigzag: small negative numbers stay short.
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	c.uint64(&u)
	*v = int64(u>>1) ^ -int64(u&1)
}

func (c *coder) uint32(v *uint32) {
	wide := uint64(*v)
	c.uint64(&wide)
	if wide > 1<<32-1 {
		c.fail(fmt.Errorf("number %d does not fit 32 bits", wide))
		return
	}
	*v = uint32(wide)
}

func (c *coder) bool(v *bool) {
	var bit uint64
	if *v {
		bit = 1
	}
	c.uint64(&bit)
	if bit > 1 {
		c.fail(fmt.Errorf("%d is neither true nor false", bit))
	}
	*v = bit == 1
}

// bytes writes or reads *v, of at most limit bytes. What is read shares the
// message's memory.
func (c *coder) bytes(v *[]byte, limit int) {
	size := uint64(len(*v))
	c.uint64(&size)
	switch {
	case c.err != nil:
	case size > uint64(limit):
		c.fail(fmt.Errorf("field of %d bytes: the limit is %d", size, limit))
	case !c.reading:
		c.buf = append(c.buf, *v...)
	case size > uint64(len(c.buf)):
		c.fail(errShort)
	case size > 0: // nothing stays nil
		*v, c.buf = c.buf[:size:size], c.buf[size:]
	}
}

func (c *coder) text(v *string) {
	raw := []byte(*v)
	c.bytes(&raw, maxText)
	if c.reading {
		*v = string(raw)
	}
}

// list writes or reads *v item by item. Memory is taken as items arrive, so a
// false count costs nothing.
func list[T any](c *coder, v *[]T, item func(*coder, *T)) {
	size := uint64(len(*v))
	c.uint64(&size)
	if size > maxItems {
		c.fail(fmt.Errorf("list of %d items: the limit is %d", size, maxItems))
	}
	if !c.reading {
		for i := range *v {
			item(c, &(*v)[i])
		}
		return
	}
	for range size {
		if c.err != nil {
			return
		}
		var one T
		item(c, &one)
		*v = append(*v, one)
	}
}

func texts(c *coder, v *[]string) { list(c, v, (*coder).text) }
