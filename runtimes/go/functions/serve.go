package functions

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"unicode/utf8"

	"redoubt.dev/redoubt/runtimes/contract"
	"redoubt.dev/redoubt/runtimes/lend"
)

// Serve answers requests with the handler, on the connections that the server
// lends, until the process ends. Text becomes text/plain, bytes
// application/octet-stream, anything else JSON, and nil nothing.
func Serve[T any](handler func(Event, Context) (T, error)) {
	own := Context{
		FunctionName: os.Getenv("FUNC_NAME"), Timeout: os.Getenv("FUNC_TIMEOUT"),
		Runtime: os.Getenv("FUNC_RUNTIME"), MemoryLimit: os.Getenv("FUNC_MEMORY_LIMIT"),
	}
	err := lend.Borrow(caller(func(e Event) (any, error) { return handler(e, own) }))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// caller calls the handler.
type caller func(Event) (any, error)

// Call makes one call.
func (c caller) Call(ctx context.Context, r *http.Request, body []byte) (contract.Answer, error) {
	w := &written{header: http.Header{}}
	answer, err := c.call(eventOf(ctx, w, r, body))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return contract.Answer{}, contract.Problemf(http.StatusInternalServerError, "the function failed: %v", err)
	}
	if err := w.add(answer); err != nil {
		return contract.Answer{}, err
	}
	return contract.Answer{Status: cmp.Or(w.status, http.StatusOK), Header: w.header, Body: w.body.Bytes()}, w.body.Over()
}

// call makes an error of a panic.
func (c caller) call(e Event) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n%s", p, debug.Stack())
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return c(e)
}

func eventOf(ctx context.Context, w http.ResponseWriter, r *http.Request, body []byte) Event {
	get := func(name, attribute string) string { return cmp.Or(r.Header.Get(name), r.Header.Get(attribute)) }
	return Event{
		Data:    string(body),
		EventID: get("event-id", "ce-id"), EventType: get("event-type", "ce-type"), EventTime: get("event-time", "ce-time"), EventNamespace: get("event-namespace", "ce-source"),
		Extensions: Extension{Request: r, Response: w, Context: ctx},
	}
}

// written is what a function writes itself, before what it returns.
type written struct {
	header http.Header
	status int
	body   contract.Output
}

func (w *written) Header() http.Header { return w.header }

// WriteHeader notes the first status that is not one on the way to the answer.
func (w *written) WriteHeader(status int) {
	if status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
		w.status = cmp.Or(w.status, status)
	}
}

func (w *written) Write(p []byte) (int, error) { return w.body.Write(p) }

// add writes what the function returned. That it is too large is the output's
// to tell.
func (w *written) add(answer any) error {
	kind, body := contract.PlainText, []byte(nil)
	switch a := answer.(type) {
	case nil:
	case string:
		body = []byte(a)
		if !utf8.ValidString(a) {
			kind = "application/octet-stream"
		}
	case []byte:
		kind, body = "application/octet-stream", a
	default:
		kind = "application/json"
		var err error
		if body, err = json.Marshal(a); err != nil {
			return contract.Problemf(http.StatusInternalServerError, "the function failed: its answer cannot be written as JSON: %v", err)
		}
		if isEvent(body) {
			kind = contract.Structured
		}
	}
	if w.header.Get("Content-Type") == "" {
		w.header.Set("Content-Type", kind)
	}
	_, _ = w.Write(body)
	return nil
}

// isEvent says whether an answer is a CloudEvent in structured mode.
func isEvent(body []byte) bool {
	var e struct{ SpecVersion, ID, Source, Type string }
	return json.Unmarshal(body, &e) == nil && e.SpecVersion != "" && e.ID != "" && e.Source != "" && e.Type != ""
}
