package functions

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"unicode/utf8"
)

// Serve answers requests with the handler, on 127.0.0.1:$PORT, until the process
// ends. Text becomes text/plain, bytes application/octet-stream, anything else
// JSON, and nil nothing. The server before it bounds bodies, answers and times.
func Serve[T any](handler func(Event, Context) (T, error)) {
	own := Context{
		FunctionName: os.Getenv("FUNC_NAME"), Timeout: os.Getenv("FUNC_TIMEOUT"),
		Runtime: os.Getenv("FUNC_RUNTIME"), MemoryLimit: os.Getenv("FUNC_MEMORY_LIMIT"),
	}
	err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the server before it has gone
		}
		answer, err := call(handler, eventOf(w, r, body), own)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			http.Error(w, "the function failed: "+err.Error(), http.StatusInternalServerError)
			return
		}
		write(w, answer)
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func eventOf(w http.ResponseWriter, r *http.Request, body []byte) Event {
	get := func(name, attribute string) string { return cmp.Or(r.Header.Get(name), r.Header.Get(attribute)) }
	return Event{
		Data:    string(body),
		EventID: get("event-id", "ce-id"), EventType: get("event-type", "ce-type"), EventTime: get("event-time", "ce-time"), EventNamespace: get("event-namespace", "ce-source"),
		Extensions: Extension{Request: r, Response: w, Context: r.Context()},
	}
}

// call makes an error of a panic.
func call[T any](handler func(Event, Context) (T, error), e Event, c Context) (answer T, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n%s", p, debug.Stack())
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return handler(e, c)
}

func write(w http.ResponseWriter, answer any) {
	var kind string
	var body []byte
	switch a := answer.(type) {
	case nil:
		kind = "text/plain; charset=utf-8"
	case string:
		kind, body = "text/plain; charset=utf-8", []byte(a)
		if !utf8.ValidString(a) {
			kind = "application/octet-stream"
		}
	case []byte:
		kind, body = "application/octet-stream", a
	default:
		kind = "application/json"
		var err error
		if body, err = json.Marshal(a); err != nil {
			http.Error(w, "the function failed: its answer cannot be written as JSON: "+err.Error(), http.StatusInternalServerError)
			return
		}
		if isEvent(body) {
			kind = "application/cloudevents+json"
		}
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", kind)
	}
	_, _ = w.Write(body) // a caller that has gone has no use for it
}

// isEvent says whether an answer is a CloudEvent in structured mode.
func isEvent(body []byte) bool {
	var e struct{ SpecVersion, ID, Source, Type string }
	return json.Unmarshal(body, &e) == nil && e.SpecVersion != "" && e.ID != "" && e.Source != "" && e.Type != ""
}
