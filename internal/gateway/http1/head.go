// Package http1 reads the heads and chunks of HTTP/1.1 messages (RFC 9112).
//
// It is strict: what two programs could read differently is refused, so that
// the gateway and an instance never disagree on where a message ends. An
// instance's answer may end its lines with LF alone, as CGI programs do: the
// gateway is the only one to read it, and sends on lines of its own. It only
// looks at bytes; reading and writing them is its user's work, and what it
// returns points into the bytes it was given.
package http1

import "bytes"

const (
	// MaxHead bounds a message's head, in bytes.
	MaxHead = 64 << 10
	// maxFields bounds the number of its headers.
	maxFields = 256
)

// NoLength is the length of a body that does not say it.
const NoLength = -1

// RequestHead returns how many of the bytes in b are the head of a request,
// with its empty line, and 0 while the end is missing. Scanned is 0 at first;
// it remembers between calls what has been looked at.
func RequestHead(b []byte, scanned *int) (int, error) { return headLength(b, scanned, true) }

// ResponseHead is RequestHead for an answer, whose lines may end with LF alone
// (RFC 9112, section 2.2).
func ResponseHead(b []byte, scanned *int) (int, error) { return headLength(b, scanned, false) }

func headLength(b []byte, scanned *int, strict bool) (int, error) {
	for {
		at := bytes.IndexByte(b[*scanned:], '\n')
		if at < 0 {
			if len(b) > MaxHead {
				return 0, ErrTooLarge
			}
			return 0, nil
		}
		end := *scanned + at
		carriage := at > 0 && b[end-1] == '\r'
		if strict && !carriage {
			return 0, ErrBareLF
		}
		if end > MaxHead {
			return 0, ErrTooLarge
		}
		if at == 0 || at == 1 && carriage {
			return end + 1, nil
		}
		*scanned = end + 1
	}
}

// cutLine takes the first line off b, without its end; b has one.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, newline)
	return bytes.TrimSuffix(line, carriageReturn), rest
}

var newline, carriageReturn = []byte{'\n'}, []byte{'\r'}

// Fields are what the heads of requests and answers have in common.
type Fields struct {
	// List are the headers in their order.
	List []Field
	// Minor is the minor version, 0 or 1.
	Minor int
	// Length is the body's length, NoLength when none is given.
	Length int64
	// Chunked says that the body comes in chunks.
	Chunked bool
	// Close and Keep are what the Connection header asks for.
	Close, Keep bool

	named    [][]byte // further names in Connection: headers of this hop alone
	upgrades bool     // Connection has upgrade
}

// parse reads the lines after the first one, up to the empty line.
func (f *Fields) parse(b []byte) error {
	f.List, f.named = f.List[:0], f.named[:0]
	f.Length, f.Chunked, f.Close, f.Keep, f.upgrades = NoLength, false, false, false, false
	for {
		var line []byte
		if line, b = cutLine(b); len(line) == 0 {
			return nil
		}
		field, err := parseField(line)
		if err != nil {
			return err
		}
		if len(f.List) == maxFields {
			return ErrTooLarge
		}
		f.List = append(f.List, field)
		if field.Kind != Other {
			if err := f.note(field); err != nil {
				return err
			}
		}
	}
}

// note takes in what a header says of the message's length and connection.
func (f *Fields) note(field Field) error {
	switch field.Kind {
	case ContentLength:
		n, ok := parseLength(field.Value)
		if !ok || f.Length != NoLength {
			return ErrLength
		}
		if f.Chunked {
			return ErrTwoLengths
		}
		f.Length = n
	case TransferEncoding:
		switch {
		case f.Length != NoLength:
			return ErrTwoLengths
		case f.Minor == 0:
			return ErrCodingVersion
		case f.Chunked || !EqualFold(field.Value, "chunked"):
			return ErrCoding
		}
		f.Chunked = true
	case Connection:
		elements(field.Value, f.noteConnection)
	}
	return nil
}

func (f *Fields) noteConnection(option []byte) {
	switch {
	case EqualFold(option, "close"):
		f.Close = true
	case EqualFold(option, "keep-alive"):
		f.Keep = true
	case EqualFold(option, "upgrade"):
		f.upgrades = true
	default:
		f.named = append(f.named, option)
	}
}

// KeepsAlive says that the connection can serve another message after this
// one, as far as its sender is concerned.
func (f *Fields) KeepsAlive() bool { return !f.Close && (f.Minor == 1 || f.Keep) }

// EndToEnd says that a header is to be passed on.
func (f *Fields) EndToEnd(field *Field) bool {
	if field.Kind.HopByHop() {
		return false
	}
	for _, name := range f.named {
		if field.Kind == Other && bytes.EqualFold(name, field.Name) {
			return false
		}
	}
	return true
}

// parseLength reads at most as many digits as an int64 surely holds.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
