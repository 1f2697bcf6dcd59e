package http1

import "bytes"

// Response is the head of an answer.
type Response struct {
	Fields
	Status int
	// Reason is the text after the status.
	Reason []byte
	// Upgrade is the protocol that the answer changes to, with status 101.
	Upgrade []byte
	// Loose says that lines end with LF alone, which clients need not take.
	Loose bool
}

// Parse reads a head as ResponseHead has found it. Toward says what the request
// was, which decides whether a body follows.
func (r *Response) Parse(head []byte, toward *Request) error {
	r.Upgrade = nil
	line, fields := cutLine(head)
	if err := r.parseLine(line); err != nil {
		return err
	}
	if err := r.Fields.parse(fields); err != nil {
		return err
	}
	r.Loose = bytes.Count(head, newline) != bytes.Count(head, carriageReturn)
	for i := range r.List {
		if f := &r.List[i]; f.Kind == Upgrade {
			r.Upgrade = f.Value
		}
	}
	if r.bodiless(toward) {
		r.Chunked = false
		r.Length = 0
	}
	return nil
}

// parseLine reads the status line. Many programs leave out the space before an
// empty reason.
func (r *Response) parseLine(line []byte) (err error) {
	const code = len("HTTP/1.1 ")
	if len(line) < code+3 || line[code-1] != ' ' || len(line) > code+3 && line[code+3] != ' ' {
		return ErrStatusLine
	}
	if r.Minor, err = parseVersion(line[:code-1]); err != nil {
		return ErrStatusLine
	}
	status, ok := parseLength(line[code : code+3])
	if !ok || status < 100 || status > 599 {
		return ErrStatusLine
	}
	r.Status, r.Reason = int(status), nil
	if len(line) > code+3 {
		r.Reason = line[code+4:]
	}
	if !all(r.Reason, text) {
		return ErrStatusLine
	}
	return nil
}

// bodiless says that no body follows, whatever the headers say (RFC 9112,
// section 6.3).
func (r *Response) bodiless(toward *Request) bool {
	return r.Status < 200 || r.Status == 204 || r.Status == 304 || string(toward.Method) == "HEAD"
}

// UntilClose says that the body ends with the connection.
func (r *Response) UntilClose() bool { return !r.Chunked && r.Length == NoLength }
