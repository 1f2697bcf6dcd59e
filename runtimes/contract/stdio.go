package contract

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"unicode/utf8"
)

// Tail passes on what is written to it, as an error output, and keeps its end.
type Tail struct{ data []byte }

func (t *Tail) Write(p []byte) (int, error) {
	const most = 1000
	t.data = append(t.data, p...)
	if len(t.data) > most {
		t.data = bytes.Clone(t.data[len(t.data)-most:])
	}
	_, _ = os.Stderr.Write(p)
	return len(p), nil
}

// Output is an output that becomes an answer. It takes no more than one may have.
type Output struct {
	bytes.Buffer
	over *Problem
}

func (b *Output) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxAnswer {
		b.over = Problemf(500, "the function's answer is larger than %d MiB", MaxAnswer>>20)
		return 0, b.over
	}
	return b.Buffer.Write(p)
}

// Over is the problem of an output that was larger than it may be, or nil.
func (b *Output) Over() error {
	if b.over == nil {
		return nil
	}
	return b.over
}

// Failed is the problem of a call that ended without success; how says in which
// way.
func (t *Tail) Failed(how error) error {
	if said := bytes.TrimSpace(t.data); len(said) > 0 {
		return Problemf(http.StatusInternalServerError, "the function failed without an answer (%v): %s", how, said)
	}
	return Problemf(http.StatusInternalServerError, "the function's process ended without an answer (%v)", how)
}

// Answer is what was written.
func (b *Output) Answer() Answer {
	kind := PlainText
	switch {
	case isEvent(b.Bytes()):
		kind = Structured
	case !utf8.Valid(b.Bytes()):
		kind = "application/octet-stream"
	}
	return Answer{http.StatusOK, http.Header{"Content-Type": {kind}}, b.Bytes()}
}

// Environment is what a program learns of the request: EVENT_ID and the like, of
// Kubeless's headers or else of a CloudEvent's, and the names that CGI programs
// know.
func Environment(r *http.Request) []string {
	var env []string
	for _, e := range []struct{ variable, header, attribute string }{
		{"EVENT_ID", "event-id", "ce-id"}, {"EVENT_TYPE", "event-type", "ce-type"},
		{"EVENT_TIME", "event-time", "ce-time"}, {"EVENT_NAMESPACE", "event-namespace", "ce-source"},
	} {
		env = append(env, e.variable+"="+cmp.Or(r.Header.Get(e.header), r.Header.Get(e.attribute)))
	}
	return append(env, "CONTENT_TYPE="+r.Header.Get("Content-Type"), "REQUEST_METHOD="+r.Method, "REQUEST_URI="+r.URL.RequestURI())
}

// isEvent says whether an answer is a CloudEvent in structured mode.
func isEvent(body []byte) bool {
	var e struct{ SpecVersion, ID, Source, Type string }
	return bytes.HasPrefix(body, []byte("{")) && json.Unmarshal(body, &e) == nil && e.SpecVersion != "" && e.ID != "" && e.Source != "" && e.Type != ""
}
