package wire

import (
	"encoding/binary"
	"errors"
	"io"
)

// Of yamux's frames (its spec.md): the length of a header and, in it, the places of
// the type, the flags and the length of what follows data.
const (
	frameHeader = 12
	frameType   = 1
	frameFlags  = 2
	frameLength = 8

	frameData  = 0
	framePing  = 2
	flagOpened = 1
)

var (
	errPing   = errors.New("the guest sends pings, which nobody has asked it for")
	errOpened = errors.New("the guest opens a stream, which is the host's to do")
)

// frames reads frames of a guest and refuses those for which yamux takes memory
// that nothing limits: each ping waits in a goroutine of its own until its answer
// is sent, and each stream that is opened is there until somebody accepts it.
type frames struct {
	io.ReadWriteCloser
	header []byte // what has come of it
	data   uint32 // still to come
}

func (f *frames) Read(p []byte) (int, error) {
	n, err := f.ReadWriteCloser.Read(p)
	if refused := f.follow(p[:n]); refused != nil {
		return 0, refused
	}
	return n, err
}

func (f *frames) follow(bytes []byte) error {
	for len(bytes) > 0 {
		if skip := min(f.data, uint32(len(bytes))); skip > 0 {
			bytes, f.data = bytes[skip:], f.data-skip
			continue
		}
		take := min(frameHeader-len(f.header), len(bytes))
		f.header, bytes = append(f.header, bytes[:take]...), bytes[take:]
		if len(f.header) < frameHeader {
			return nil
		}
		switch {
		case f.header[frameType] == framePing:
			return errPing
		case binary.BigEndian.Uint16(f.header[frameFlags:])&flagOpened != 0:
			return errOpened
		case f.header[frameType] == frameData:
			f.data = binary.BigEndian.Uint32(f.header[frameLength:])
		}
		f.header = f.header[:0]
	}
	return nil
}
