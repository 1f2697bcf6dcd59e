package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unicode/utf8"
)

// stdio starts the program for every call.
type stdio struct{ file string }

// newStdio starts nothing: what a program does without a call is its own.
func newStdio(file string) (caller, *problem) {
	if _, err := exec.LookPath(file); err != nil {
		return nil, problemf(500, "%s cannot be loaded: %v", file, err)
	}
	return stdio{file}, nil
}

// tail keeps the end of what is written to it.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 1000
	t.data = append(t.data, p...)
	if len(t.data) > most {
		t.data = bytes.Clone(t.data[len(t.data)-most:])
	}
	_, _ = os.Stderr.Write(p)
	return len(p), nil
}

// bounded takes no more than an answer may have; one that writes more ends.
type bounded struct {
	bytes.Buffer
	over *problem
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxAnswer {
		b.over = problemf(500, "the function's answer is larger than %d MiB", maxAnswer>>20)
		return 0, b.over
	}
	return b.Buffer.Write(p)
}

func (s stdio) call(ctx context.Context, r *http.Request, body []byte) (answer, error) {
	cmd := exec.CommandContext(ctx, s.file)
	cmd.Env = append(os.Environ(), event(r)...)
	cmd.Stdin = bytes.NewReader(body)
	var out bounded
	var said tail
	cmd.Stdout, cmd.Stderr = &out, &said
	group(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.over != nil:
		return answer{}, out.over
	case errors.As(err, &exit) && len(bytes.TrimSpace(said.data)) > 0:
		return answer{}, problemf(500, "the function failed without an answer (%v): %s", err, bytes.TrimSpace(said.data))
	case errors.As(err, &exit):
		return answer{}, problemf(500, "the function's process ended without an answer (%v)", err)
	case err != nil && !errors.Is(err, syscall.EPIPE): // it need not read what it is sent
		return answer{}, problemf(500, "%s cannot be started: %v", s.file, err)
	}
	kind := plainText
	if isEvent(out.Bytes()) {
		kind = structured
	}
	if !utf8.Valid(out.Bytes()) {
		kind = "application/octet-stream"
	}
	return answer{http.StatusOK, http.Header{"Content-Type": {kind}}, out.Bytes()}, nil
}

// group makes the program's own children end with it.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
}

// event is what the program learns of the request: EVENT_ID and the like, of
// Kubeless's headers or else of a CloudEvent's, and the names that CGI programs
// know.
func event(r *http.Request) []string {
	var env []string
	for _, e := range []struct{ variable, header, attribute string }{
		{"EVENT_ID", "event-id", "ce-id"}, {"EVENT_TYPE", "event-type", "ce-type"},
		{"EVENT_TIME", "event-time", "ce-time"}, {"EVENT_NAMESPACE", "event-namespace", "ce-source"},
	} {
		env = append(env, e.variable+"="+cmp.Or(r.Header.Get(e.header), r.Header.Get(e.attribute)))
	}
	return append(env, "CONTENT_TYPE="+r.Header.Get("Content-Type"), "REQUEST_METHOD="+r.Method, "REQUEST_URI="+r.URL.RequestURI())
}

// structured is the media type of a CloudEvent in structured mode.
const structured = "application/cloudevents+json"

// isEvent says whether an answer is one.
func isEvent(body []byte) bool {
	var e struct{ SpecVersion, ID, Source, Type string }
	return bytes.HasPrefix(body, []byte("{")) && json.Unmarshal(body, &e) == nil && e.SpecVersion != "" && e.ID != "" && e.Source != "" && e.Type != ""
}
