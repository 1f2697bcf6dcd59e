package contract

import (
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Line is a call's in the log, an object in JSON with how the call ended.
type Line struct{ Method, Path, ID string }

// NewLine is the line of a request that has no answer yet.
func NewLine(r *http.Request) Line {
	return Line{Method: r.Method, Path: r.URL.RequestURI(), ID: r.Header.Get("X-Request-Id")}
}

// Write writes the line into the log.
func (l Line) Write(a Answer, took time.Duration) {
	_, _ = os.Stdout.Write(l.append(make([]byte, 0, 512), a, took))
}

// append writes each line by hand: it is most of what a call costs otherwise.
func (l Line) append(to []byte, a Answer, took time.Duration) []byte {
	to = appendText(append(to, `{"method":`...), l.Method)
	to = appendText(append(to, `,"path":`...), l.Path)
	to = strconv.AppendInt(append(to, `,"status":`...), int64(a.Status), 10)
	to = strconv.AppendFloat(append(to, `,"seconds":`...), took.Seconds(), 'f', -1, 64)
	to = appendText(append(to, `,"id":`...), l.ID)
	if a.Status >= 400 {
		to = appendText(append(to, `,"error":`...), strings.TrimSpace(string(a.Body[:min(len(a.Body), 1000)])))
	}
	return append(to, "}\n"...)
}

// appendText writes a text as JSON; most have nothing that must be escaped.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(strings.ToValidUTF8(text, "?")) // which no text fails
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}
